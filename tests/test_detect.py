"""`detect_files`: pictures, folders and videos to an AU table and overlays."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fixtures_datasets import numbered_frame, write_video
from skimage.data import astronaut, coffee

from data_modules.errors import UserError
from data_modules.facs import BP4D_AUS
from fau_mae.inference.detect import detect_files


def predict(crops: torch.Tensor) -> torch.Tensor:
    """Stands in for a model: probabilities that follow from each crop alone."""
    assert crops.dtype == torch.uint8 and crops.shape[1:] == (3, 96, 96)
    mean = crops.float().mean((1, 2, 3)) / 255  # (B,)
    return (mean[:, None] * torch.linspace(0.1, 1.5, len(BP4D_AUS))).clamp(0, 1)


def detect(inputs: list[Path], out: Path):
    return detect_files(inputs, out, predict, BP4D_AUS, 96, progress=False)


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
    assert list(row)[8:] == [f"AU{number}" for number in BP4D_AUS]
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
