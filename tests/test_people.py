"""Who is a person: names, folders, links, the published sets' spellings and folds."""

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from fixtures_datasets import numbered_frame, write_bp4d, write_disfa

from data_modules.stores.store import FaceStore

Run = Callable[..., int]
SMALL = ["--out", "s", "--size", 64, "--workers", 1]


def pictures(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), numbered_frame(number)[..., ::-1])


def people(out: Path) -> list[str]:
    return sorted(set(FaceStore(out).column("subject")))


def test_names_are_trimmed_and_na_is_one(fau_mae: Run, tmp_path: Path) -> None:
    """`NA`, `None`, `nan` and `007` are people; blanks and the two spellings of an accent make no other one."""
    pictures(tmp_path / "raw", *(f"{n}.png" for n in range(8)))
    names = ["NA", " NA ", "None", "nan", "007", "Jos\u00e9", "Jose\u0301\t", "null"]
    rows = [f"{n}.png,{name},1" for n, name in enumerate(names)]
    (tmp_path / "t.csv").write_text("\n".join(["file,subject,AU1", *rows]), encoding="utf-8")
    assert fau_mae("prepare", "folder", "--root", "raw", "--labels", "t.csv", *SMALL) == 0
    assert people(tmp_path / "s") == ["007", "Jos\u00e9", "NA", "None", "nan", "null"]


@pytest.mark.parametrize("cell", ["", "  ", "\t"])
def test_a_row_without_a_person_is_named(fau_mae: Run, tmp_path: Path, capsys, cell: str) -> None:
    pictures(tmp_path / "raw", "a.png", "b.png")
    (tmp_path / "t.csv").write_text(f"file,subject,AU1\na.png,A,1\nb.png,{cell},1\n")
    assert fau_mae("prepare", "folder", "--root", "raw", "--labels", "t.csv", *SMALL) == 2
    assert "line 3: no subject" in capsys.readouterr().err


def test_hidden_folders_are_nobody(fau_mae: Run, tmp_path: Path) -> None:
    hidden = [
        ".ipynb_checkpoints/a.png",
        "ann/.thumbs/1.png",
        "__MACOSX/ann/1.png",
        ".git/x.png",
        "ann/._1.png",
    ]
    pictures(tmp_path / "raw", "ann/1.png", "bob/1.png", *hidden)
    assert fau_mae("prepare", "folder", "--root", "raw", *SMALL) == 0
    store = FaceStore(tmp_path / "s")
    assert people(tmp_path / "s") == ["ann", "bob"] and len(store) == 2
    assert store.info.counts["hidden folder"] == 4 and store.info.counts["hidden file"] == 1


def test_links_are_followed_once_and_counted(fau_mae: Run, tmp_path: Path) -> None:
    """A link to a sibling, to the root (a loop), to a folder elsewhere, to a picture, to nothing."""
    pictures(tmp_path / "raw", "ann/1.png", "bob/1.png")
    pictures(tmp_path / "elsewhere", "1.png")
    raw = tmp_path / "raw"
    for link, target in {
        "again": "ann",
        "bob/loop": "..",
        "cid": "../elsewhere",
        "bob/2.png": "1.png",
        "bob/3.png": "gone.png",
    }.items():
        (raw / link).symlink_to(target)
    assert fau_mae("prepare", "folder", "--root", "raw", *SMALL) == 0
    store = FaceStore(tmp_path / "s")
    assert sorted(store.column("source")) in (
        ["ann/1.png", "bob/1.png", "cid/1.png"],
        ["again/1.png", "bob/1.png", "cid/1.png"],
    )
    assert store.info.counts["link to a folder that is read already"] == 2
    assert store.info.counts["link to a file that is read already"] == 1
    assert store.info.counts["link to nothing"] == 1


@pytest.mark.parametrize(
    ("folder", "file", "camera"),
    [
        ("Video_RightCamera", "RightVideoSN001_Comp.avi", "right"),
        ("videos_leftcamera", "leftvideosn001_comp.AVI", "left"),
        ("Videos_RightCamera", "RightVideoSN001_COMP.avi", "right"),
        ("VIDEO_LEFTCAMERA", "LeftVideoSN001_comp.avi", "left"),
    ],
)
def test_disfa_by_any_spelling(fau_mae: Run, tmp_path: Path, folder: str, file: str, camera: str) -> None:
    raw = write_disfa(tmp_path / "raw", ["SN001"], frames=2)
    side = camera.capitalize()
    (raw / f"Videos_{side}Camera").rename(raw / "moved")
    (raw / "moved").rename(raw / folder)
    (raw / folder / f"{side}VideoSN001_comp.avi").rename(raw / folder / file)
    labels = raw / "ActionUnit_Labels/SN001"
    (labels / "SN001_au1.txt").rename(labels / "sn001_AU01.TXT")
    assert fau_mae("prepare", "disfa", "--root", "raw", "--camera", camera, *SMALL) == 0
    store = FaceStore(tmp_path / "s")
    assert set(store.column("source")) == {f"{folder}/{file}"} and people(tmp_path / "s") == ["SN001"]


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.swapcase])
def test_bp4d_by_any_spelling(fau_mae: Run, tmp_path: Path, spell: Callable[[str], str]) -> None:
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1")], frames=2)
    labels = raw / "AUCoding/AU_OCC/F001_T1.csv"
    labels.rename(labels.with_name(spell("F001_T1.csv")))
    folder = raw / "Sequences(2D+3D)/F001"
    (folder / "T1").rename(folder / spell("t1"))
    folder.rename(folder.with_name(spell("f001")))
    assert fau_mae("prepare", "bp4d", "--root", "raw", *SMALL) == 0
    store = FaceStore(tmp_path / "s")
    assert people(tmp_path / "s") == ["F001"] and len(store) == 2


def test_one_sequence_by_two_spellings_is_refused(fau_mae: Run, tmp_path: Path, capsys) -> None:
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1")], frames=1)
    labels = raw / "AUCoding/AU_OCC/F001_T1.csv"
    labels.with_name("f001_t1.csv").write_bytes(labels.read_bytes())
    assert fau_mae("prepare", "bp4d", "--root", "raw", *SMALL) == 2
    assert "are both F001_T1" in capsys.readouterr().err


@pytest.mark.parametrize(("source", "person"), [("disfa", "SN014"), ("disfa", "SN033"), ("bp4d", "M019")])
def test_a_person_of_no_published_fold_is_named(fau_mae: Run, tmp_path: Path, capsys, source, person) -> None:
    if source == "disfa":
        write_disfa(tmp_path / "raw", ["SN001", person], frames=1)
    else:
        write_bp4d(tmp_path / "raw", [("F001", "T1"), (person, "T2")], frames=1)
    assert fau_mae("prepare", source, "--root", "raw", *SMALL) == 2
    said = capsys.readouterr().err
    assert f"{person} is in none of the published folds" in said and "prepare folder" in said
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("folds", "says"),
    [
        ("1 1 3", "no subject is in fold 2"),
        ("1 2 x", "line 4: fold 'x'"),
        ("1 0 2", "line 3: fold '0'"),
        ("2 3 4", "fold 1"),
    ],
)
def test_folds_are_whole_and_none_is_empty(
    fau_mae: Run, tmp_path: Path, capsys, folds: str, says: str
) -> None:
    pictures(tmp_path / "raw", "a/1.png", "b/1.png", "c/1.png")
    rows = [f"{name}/1.png,{fold},1" for name, fold in zip("abc", folds.split())]
    (tmp_path / "t.csv").write_text("\n".join(["file,fold,AU1", *rows]))
    assert fau_mae("prepare", "folder", "--root", "raw", "--labels", "t.csv", *SMALL) == 2
    assert says in capsys.readouterr().err
