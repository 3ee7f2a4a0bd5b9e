"""A finished store takes more sequences: the same bytes as prepared at once, and only what is new is done."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from fixtures_datasets import numbered_frame, write_bp4d

from data_modules.bp4d import prepare_bp4d
from data_modules.errors import UserError
from data_modules.folder import prepare_folder
from data_modules.sources import preparing
from data_modules.stores.store import FaceStore

SEQUENCES = [("F001", "T1"), ("F003", "T2"), ("M003", "T1"), ("M004", "T8")]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def prepare(raw: Path, out: Path, **options) -> FaceStore:
    return prepare_bp4d(raw, out, **{"size": 64, "workers": 1, "progress": False, **options})


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sequences that were cropped, in order."""
    names: list[str] = []
    real = preparing.write_sequence
    monkeypatch.setattr(
        preparing, "write_sequence", lambda *arguments: names.append(arguments[2]) or real(*arguments)
    )
    return names


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tree with a missing picture, and its store, prepared at once."""
    folder = tmp_path_factory.mktemp("whole")
    raw = write_bp4d(folder / "raw", SEQUENCES)
    (raw / "Sequences(2D+3D)/F003/T2/002.jpg").unlink()
    return raw, prepare(raw, folder / "s").path


def part_of(raw: Path, out: Path, chosen: list[tuple[str, str]]) -> Path:
    """A copy of the tree with these sequences only."""
    for subject, task in chosen:
        shutil.copytree(
            raw / f"Sequences(2D+3D)/{subject}/{task}", out / f"Sequences(2D+3D)/{subject}/{task}"
        )
        (out / "AUCoding/AU_OCC").mkdir(parents=True, exist_ok=True)
        shutil.copy(raw / f"AUCoding/AU_OCC/{subject}_{task}.csv", out / "AUCoding/AU_OCC")
    return out


@pytest.mark.parametrize("first", [SEQUENCES[1:2], SEQUENCES[::3], SEQUENCES[2:]])
def test_a_grown_root_adds_to_the_store(whole, worked, tmp_path: Path, first) -> None:
    raw, at_once = whole
    grown = part_of(raw, tmp_path / "raw", first)
    assert len(prepare(grown, tmp_path / "s")) < 11
    worked.clear()
    part_of(raw, grown, [sequence for sequence in SEQUENCES if sequence not in first])
    prepare(grown, tmp_path / "s")
    assert worked == [f"{s}_{t}" for s, t in SEQUENCES if (s, t) not in first]
    assert files_of(tmp_path / "s") == files_of(at_once)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "s"]


def test_a_finished_store_is_left_alone(whole, worked, tmp_path: Path) -> None:
    raw, at_once = whole
    shutil.copytree(at_once, tmp_path / "s")
    before = {path.name: path.stat().st_ino for path in (tmp_path / "s").iterdir()}
    prepare(raw, tmp_path / "s")
    assert not worked and before == {path.name: path.stat().st_ino for path in (tmp_path / "s").iterdir()}


def test_an_interrupted_growth_goes_on(whole, worked, tmp_path: Path, monkeypatch) -> None:
    """Stopped while it adds, and while it puts the new store in place."""
    raw, at_once = whole
    grown = part_of(raw, tmp_path / "raw", SEQUENCES[:1])
    prepare(grown, tmp_path / "s")
    part_of(raw, grown, SEQUENCES[1:])
    real, counting = preparing.write_sequence, preparing.write_sequence

    def stops(*arguments):
        if arguments[2] == "M003_T1":
            raise KeyboardInterrupt
        counting(*arguments)

    monkeypatch.setattr(preparing, "write_sequence", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(grown, tmp_path / "s")
    assert len(FaceStore(tmp_path / "s")) == 3  # the old store is there and whole
    monkeypatch.setattr(preparing, "write_sequence", real)
    rename = Path.replace

    def dies(self: Path, target):
        if self.name == "merged":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        prepare(grown, tmp_path / "s")
    monkeypatch.setattr(Path, "replace", rename)
    worked.clear()
    prepare(grown, tmp_path / "s")
    assert not worked and files_of(tmp_path / "s") == files_of(at_once)


def test_a_sequence_whose_labels_change_is_done_again(whole, worked, tmp_path: Path) -> None:
    raw, at_once = whole
    mine = part_of(raw, tmp_path / "raw", SEQUENCES)
    shutil.copytree(at_once, tmp_path / "s")
    path = mine / "AUCoding/AU_OCC/M003_T1.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *("1" + ",1" * 13, "2" + ",0" * 13, "3" + ",9" * 13)]))
    store = prepare(mine, tmp_path / "s")
    assert worked == ["M003_T1"]
    rows = store.column("subject") == "M003"
    assert store.column("labels")[rows].tolist() == [[1] * 12, [0] * 12, [-1] * 12]
    assert files_of(prepare(mine, tmp_path / "t").path) == files_of(store.path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preset": "fmae"}, "preset canonical, not fmae"),
        ({"size": 96}, "size 64, not 96"),
        ({"aus": (1, 2)}, r"aus \[1, 2, 4"),
        ({"frame_offset": 1}, "frame_offset 0, not 1"),
    ],
)
def test_a_store_of_another_recipe_is_not_replaced(whole, worked, tmp_path: Path, options, says: str) -> None:
    raw, at_once = whole
    shutil.copytree(at_once, tmp_path / "s")
    with pytest.raises(UserError, match=f"prepared otherwise .*{says}"):
        prepare(raw, tmp_path / "s", **options)
    assert not worked and files_of(tmp_path / "s") == files_of(at_once)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_store_of_another_data_set_is_not_replaced(whole, tmp_path: Path) -> None:
    _, at_once = whole
    shutil.copytree(at_once, tmp_path / "s")
    (tmp_path / "raw").mkdir()
    cv2.imwrite(str(tmp_path / "raw/1.png"), numbered_frame(1))
    with pytest.raises(UserError, match="dataset bp4d, not folder"):
        prepare_folder(tmp_path / "raw", tmp_path / "s", size=64, workers=1, progress=False)
    assert files_of(tmp_path / "s") == files_of(at_once)


def test_a_changed_picture_of_equal_size_is_read_again(worked, tmp_path: Path) -> None:
    """Written anew, and another file moved into its place; nothing is done when nothing changed."""
    raw = write_bp4d(tmp_path / "raw", SEQUENCES[:3])
    prepare(raw, tmp_path / "s")
    first, second = (raw / f"Sequences(2D+3D)/F001/T1/{n}.jpg" for n in (1, 2))
    content = bytearray(first.read_bytes())
    content[-40] ^= 1
    worked.clear()
    first.write_bytes(content)
    prepare(raw, tmp_path / "s")
    assert worked == ["F001_T1"]
    other = tmp_path / "other.jpg"
    other.write_bytes(second.read_bytes())
    other.replace(second)
    prepare(raw, tmp_path / "s")
    assert worked == ["F001_T1"] * 2
    prepare(raw, tmp_path / "s")
    assert worked == ["F001_T1"] * 2


def test_a_root_that_lacks_what_the_store_holds_is_refused(whole, tmp_path: Path) -> None:
    raw, at_once = whole
    shutil.copytree(at_once, tmp_path / "s")
    other = part_of(raw, tmp_path / "raw", SEQUENCES[1:])
    with pytest.raises(UserError, match=r"no longer has \(F001_T1; 1 in all"):
        prepare(other, tmp_path / "s")
    assert files_of(tmp_path / "s") == files_of(at_once)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "s"]


def test_a_subject_with_more_pictures_and_names_that_look_alike(tmp_path: Path) -> None:
    """`a/b` and `a__b` are two subjects; a picture more makes a sequence new."""
    raw = tmp_path / "raw"
    for place, name in enumerate(["a/b/1.png", "a__b/1.png", "2.png"]):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(raw / name), cv2.cvtColor(numbered_frame(place), cv2.COLOR_RGB2BGR))
    store = prepare_folder(raw, tmp_path / "s", size=64, workers=1, progress=False)
    assert sorted(store.column("subject")) == [".", "a/b", "a__b"]
    shutil.copy(raw / "a/b/1.png", raw / "a/b/2.png")
    store = prepare_folder(raw, tmp_path / "s", size=64, workers=1, progress=False)
    assert sorted(store.column("subject")) == [".", "a/b", "a/b", "a__b"]
    assert len(np.unique(store.column("sample_id"))) == 4
