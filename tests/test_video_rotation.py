"""A video's display matrix turns and mirrors its pictures, in `prepare` and in `detect`."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fixtures_datasets import numbered_frame, write_video

from data_modules.faces.video import Video
from data_modules.stores.store import FaceStore

# how the sensor's picture has to be turned to be seen as it was -> a, b, c, d of x' = ax + cy, y' = bx + dy
MATRICES = {
    "as it is": (1, 0, 0, 1),
    "90 clockwise": (0, 1, -1, 0),
    "180": (-1, 0, 0, -1),
    "90 counter-clockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "mirrored and 90": (0, 1, 1, 0),
}
# what the sensor has to see for the viewer to see it upright
UNDO: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda picture: picture,
    "90 clockwise": lambda picture: np.rot90(picture, 1),
    "180": lambda picture: np.rot90(picture, 2),
    "90 counter-clockwise": lambda picture: np.rot90(picture, -1),
    "mirrored": lambda picture: picture[:, ::-1],
    "upside down": lambda picture: picture[::-1],
    "mirrored and 90": lambda picture: picture.transpose(1, 0, 2),
}


def write_turned(path: Path, turn: str, frames: int = 3) -> list[np.ndarray]:
    """A phone's video: pictures as the sensor sees them, and the matrix that sets them upright."""
    upright = [numbered_frame(n) for n in range(1, frames + 1)]
    write_video(path, [np.ascontiguousarray(UNDO[turn](frame)) for frame in upright], "libx264")
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (65536 * value for value in MATRICES[turn])
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return upright


@pytest.mark.parametrize("turn", MATRICES)
def test_pictures_come_as_they_are_seen(tmp_path: Path, turn: str) -> None:
    upright = write_turned(tmp_path / "phone.mp4", turn)
    for (_, frame), expected in zip(Video(tmp_path / "phone.mp4"), upright, strict=True):
        assert frame.shape == expected.shape
        assert np.abs(frame.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("turn", ["90 clockwise", "180", "90 counter-clockwise"])
def test_faces_of_a_turned_video_are_found(tmp_path: Path, fau_mae: Callable[..., int], turn: str) -> None:
    (tmp_path / "raw").mkdir()
    write_turned(tmp_path / "raw/phone.mp4", turn)
    options = ["--size", 64, "--workers", 1]
    assert fau_mae("prepare", "folder", "--root", "raw", "--out", "s", *options) == 0
    store = FaceStore(tmp_path / "s")
    assert len(store) == 3
    left, right = store.landmarks(0)[:2]
    assert left[0] < right[0] and abs(left[1] - right[1]) < 6  # the eyes lie level
