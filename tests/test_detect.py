"""`detect_files`: pictures, folders and videos to an AU table and overlays."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fixtures_datasets import numbered_frame, write_video
from skimage.data import astronaut, coffee

from data_modules.errors import UserError
from data_modules.faces.alignment import Face
from data_modules.facs import BP4D_AUS, CANONICAL_POINTS
from fau_mae.inference.detect import Choice, Crops, detect_files
from fau_mae.inference.overlay import draw_overlay
from fau_mae.inference.predictor import Reading


def read(crops: np.ndarray, visible: np.ndarray | None) -> Reading:
    """Stands in for a model: probabilities that follow from each crop alone; AU2 is hidden where nothing is known."""
    assert crops.dtype == np.uint8 and crops.shape[1:] == (96, 96, 3)
    mean = crops.mean((1, 2, 3)) / 255  # (B,)
    values = (mean[:, None] * np.linspace(0.1, 1.5, len(BP4D_AUS))).clip(0, 1)
    present = (values > 0.5).astype(float)
    return Reading(values, visible, present, np.full_like(values, np.nan))


CROPS = Crops(read, BP4D_AUS, 96, 8)


def detect(inputs: list[Path], out: Path, **choice):
    return detect_files(inputs, out, CROPS, Choice(**choice), progress=False)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "aus.csv").open() as file:
        return list(csv.DictReader(file))


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def test_a_photo_gives_one_row_and_an_overlay(tmp_path: Path) -> None:
    photo = save(tmp_path / "astronaut.png", astronaut())
    summary = detect([photo], tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert (summary.files, summary.frames, summary.faces) == (1, 1, 1)
    assert row["file"] == str(photo) and row["face"] == "1" and float(row["score"]) > 0.9
    kinds = ("", "_present", "_observable")
    assert list(row)[10:] == [f"AU{number}{kind}" for number in BP4D_AUS for kind in kinds]
    assert row["hidden"] == "" and {row[f"AU{number}_present"] for number in BP4D_AUS} == {"0", "1"}
    assert all(0 <= float(row[f"AU{number}"]) <= 1 for number in BP4D_AUS)
    x0, y0, x1, y1 = (float(row[name]) for name in ("x0", "y0", "x1", "y1"))
    assert x0 < 224 < x1 and y0 < 120 < y1  # the nose
    assert cv2.imread(str(tmp_path / "out" / "astronaut.png")).shape[1] > 512
    assert sorted(path.name for path in tmp_path.iterdir()) == ["astronaut.png", "out"]


def test_a_folder_with_everything(tmp_path: Path) -> None:
    """A face, none, two, a video, a zip named .jpg: every frame has its row, every file its overlay."""
    folder = tmp_path / "in"
    save(folder / "a.jpg", astronaut())
    save(folder / "b.png", coffee())
    save(folder / "c.png", np.hstack([astronaut(), astronaut()[:, ::-1]]))
    write_video(folder / "d.avi", (numbered_frame(n, face=n != 2) for n in range(1, 4)))
    (folder / "e.jpg").write_bytes(b"PK\x03\x04 not a picture")
    (folder / "notes.txt").write_text("not an input")
    summary = detect([folder], tmp_path / "out")
    rows = [(Path(row["file"]).name, int(row["frame"]), int(row["face"])) for row in table(tmp_path / "out")]
    assert rows == [
        ("a.jpg", 0, 1), ("b.png", 0, 0), ("c.png", 0, 1), ("c.png", 0, 2),
        ("d.avi", 1, 1), ("d.avi", 2, 0), ("d.avi", 3, 1),
    ]  # fmt: skip
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"a.png", "b.png", "c.png", "d.png"}
    assert len(summary.unreadable) == 1 and "e.jpg" in summary.unreadable[0]


@pytest.mark.parametrize("frames", [4, 6, 9])
def test_a_video_that_breaks_off_is_named_with_what_was_read(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "cut.avi"
    write_video(path, (numbered_frame(n) for n in range(1, 13)))
    whole = path.read_bytes()
    start = whole.index(b"movi") + 4
    for _ in range(frames):  # chunk by chunk: four letters, its size, padded to even bytes
        size = int.from_bytes(whole[start + 4 : start + 8], "little")
        start += 8 + size + size % 2
    path.write_bytes(whole[:start])
    summary = detect([path], tmp_path / "out")
    assert [int(row["frame"]) for row in table(tmp_path / "out")] == list(range(1, frames + 1))
    assert len(summary.unreadable) == 1 and f"broke off after {frames} of 12 frames" in summary.unreadable[0]


def test_inputs_that_share_a_name_keep_their_overlays(tmp_path: Path) -> None:
    inputs = [save(tmp_path / name / "x.png", coffee()) for name in ("one", "two")]
    detect(inputs, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"x.png", "x-2.png"}


@pytest.mark.parametrize(
    ("name", "content"), [("gone.jpg", None), ("a.txt", b"hi"), ("zip.jpg", b"PK\x03\x04")]
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=name) as error:
        detect([path], tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {name}


def test_code_kept_for_shapes_is_bounded() -> None:
    """Pictures of many sizes would else fill memory: `python benchmarks/media.py` measures it."""
    script = (
        "import os; from fau_mae import cli; name = 'ONEDNN_PRIMITIVE_CACHE_CAPACITY'\n"
        "cli.main = lambda: print(os.environ.get(name)) or 0; cli.entry()"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ONEDNN")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert 0 < int(done.stdout) < 256


def test_choices_leave_out_what_they_say(tmp_path: Path) -> None:
    write_video(tmp_path / "d.avi", (numbered_frame(n, face=True) for n in range(1, 8)))
    detect([tmp_path / "d.avi"], tmp_path / "some", every=3, overlays=False)
    assert [row["frame"] for row in table(tmp_path / "some")] == ["1", "4", "7"]
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["aus.csv"]
    detect([tmp_path / "d.avi"], tmp_path / "none", min_score=1.0)
    assert {row["face"] for row in table(tmp_path / "none")} == {"0"}


def test_a_known_mask_goes_with_the_face(tmp_path: Path) -> None:
    """Black over the lower half of the picture hides the tokens below; its size must be the picture's."""
    face = astronaut()
    photo = save(tmp_path / "astronaut.png", face)
    mask = np.full_like(face, 255)
    told: list[np.ndarray] = []

    def reads(crops: np.ndarray, visible: np.ndarray | None) -> Reading:
        assert visible is not None
        told.append(visible.reshape(8, 8))
        return read(crops, visible)

    mask[120:] = 0  # from the nose down
    detect_files([photo], tmp_path / "a", replace(CROPS, read=reads), Choice(mask=mask), progress=False)
    (visible,) = told
    rows = visible.mean(1)  # of each row of tokens, from the top
    assert rows[0] == 1 and rows[-1] == 0 and (np.diff(rows) <= 0).all() and 0.4 < rows.mean() < 0.75
    (row,) = table(tmp_path / "a")
    assert float(row["hidden"]) == pytest.approx(1 - visible.mean(), abs=1e-3)
    with pytest.raises(UserError, match="512 × 512 pixels, the mask 100 × 512"):
        detect([photo], tmp_path / "b", mask=mask[:, :100])
    assert not (tmp_path / "b").exists()


def test_an_overlay_tints_the_patches_that_are_hidden_and_shows_every_face(tmp_path: Path) -> None:
    face = Face(np.array([100.0, 100, 300, 340]), 0.9, np.array(CANONICAL_POINTS) * 240 + 80)
    picture = np.full((480, 480, 3), 200, np.uint8)
    visible = np.ones((1, 8, 8), bool)
    visible[:, :4] = False  # the upper half of the crop: y 80 to 200
    values = np.full((1, 3), 0.4)
    hidden = np.array([[np.nan, np.nan, 0.0]])
    one = Reading(values, visible.reshape(1, 64), hidden, np.where(np.isnan(hidden), 0.0, 0.9))
    shown = draw_overlay(picture, [face], one, (1, 2, 12), "canonical")[:480, :480].astype(int)
    dark = np.abs(shown - 200).sum(-1) > 40
    assert dark[150, 90:310].all() and not dark[205:330, 92:98].any() and not dark[60].any()
    assert dark[85:195, 310].all() and not dark[:, 330].any()
    many = Reading(*(np.repeat(array, 7, 0) for array in (values, visible.reshape(1, 64), hidden, values)))
    page = draw_overlay(picture, [face] * 7, many, (1, 2, 12), "canonical")
    ink = [(page[top + 5 : top + 30, left : left + 380] != 255).any() for left, top in _panels(page.shape)]
    assert sum(ink) == 7


def _panels(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Corners of all places for a panel: 384 × 134 pixels for three AUs, beside the picture."""
    return [(left, top) for left in range(480, shape[1], 384) for top in range(0, shape[0] - 133, 134)]
