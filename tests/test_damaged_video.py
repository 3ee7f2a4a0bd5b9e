"""Damage in a video leaves frames out and never shows one under another's number."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fixtures_datasets import disfa_intensity, numbered_frame, read_number, write_disfa, write_video

from data_modules.errors import UserError
from data_modules.faces.video import Video
from data_modules.facs import DISFA_AUS
from data_modules.stores.store import FaceStore

FRAMES = 60
# container, codec, variable frame rate, whether single pictures stand alone
KINDS = [
    ("a.avi", "mjpeg", False, True),
    ("a.mov", "mjpeg", False, True),
    ("a.mkv", "mjpeg", False, True),
    ("a.mkv", "mjpeg", True, True),
    ("a.mp4", "libx264", False, False),
    ("a.mp4", "libx264", True, False),
    ("a.avi", "mpeg4", False, False),
    ("a.avi", "libx264", False, False),
    ("a.mkv", "libx264", False, False),
    ("a.mkv", "libx264", True, False),
    ("a.mpg", "mpeg1video", False, False),
]


def numbers(path: Path) -> list[tuple[int, int]]:
    """The number each frame comes under, and the one it shows."""
    return [(number, read_number(frame)) for number, frame in Video(path)]


def zeros(content: bytearray, at: int, size: int, rng: np.random.Generator) -> None:
    content[at : at + size] = bytes(len(content[at : at + size]))


def noise(content: bytearray, at: int, size: int, rng: np.random.Generator) -> None:
    content[at : at + size] = rng.bytes(len(content[at : at + size]))


def cut(content: bytearray, at: int, size: int, rng: np.random.Generator) -> None:
    del content[at:]


@pytest.mark.parametrize(("name", "codec", "variable", "alone"), KINDS)
def test_frame_i_is_frame_i_whatever_is_damaged(
    tmp_path: Path, name: str, codec: str, variable: bool, alone: bool
) -> None:
    """A frame that predicts others may come back spoilt, and then shows a number that no frame has."""
    path = tmp_path / name
    write_video(path, (numbered_frame(n, face=not alone) for n in range(1, FRAMES + 1)), codec, variable)
    assert numbers(path) == [(n, n) for n in range(1, FRAMES + 1)]
    whole, rng, kept = path.read_bytes(), np.random.default_rng(0), []
    size = 4096 if alone else 700
    for spoil in (zeros, noise, cut):
        for at in np.linspace(1500, len(whole) - 800, 8).astype(int):
            content = bytearray(whole)
            spoil(content, int(at), size, rng)
            path.write_bytes(content)
            try:
                found = numbers(path)
            except UserError:
                continue
            kept.append(len(found))
            assert [pair for pair in found if pair[0] != pair[1] and 1 <= pair[1] <= FRAMES] == []
            if alone:
                assert all(number == shown for number, shown in found)
    assert kept and np.mean(kept) > FRAMES / 4


def test_a_lost_sector_costs_only_the_frames_it_holds(tmp_path: Path) -> None:
    """4 KiB of zeros at 31 places of an MJPEG file: three frames at most, wherever the zeros are."""
    path = tmp_path / "a.avi"
    write_video(path, (numbered_frame(n) for n in range(1, 31)))
    whole = path.read_bytes()
    for at in np.linspace(6000, len(whole) - 6000, 31).astype(int):
        content = bytearray(whole)
        zeros(content, int(at), 4096, np.random.default_rng(0))
        path.write_bytes(content)
        found = numbers(path)
        assert all(number == shown for number, shown in found) and len(found) >= 27, at


def test_an_index_hit_by_the_damage_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    write_video(path, (numbered_frame(n) for n in range(1, FRAMES + 1)))
    content = bytearray(path.read_bytes())
    middle = content.rindex(b"idx1") + 8 + 16 * 30
    content[middle : middle + 160] = bytes(160)
    path.write_bytes(content)
    assert numbers(path) == [(n, n) for n in range(1, FRAMES + 1)]


@pytest.mark.parametrize("source", ["disfa", "folder"])
def test_labels_stay_with_their_frames_and_lost_ones_are_counted(
    tmp_path: Path, fau_mae: Callable[..., int], source: str
) -> None:
    raw = write_disfa(tmp_path / "raw", ["SN001"], frames=12)
    video = raw / "Videos_LeftCamera/LeftVideoSN001_comp.avi"
    content = bytearray(video.read_bytes())
    at = len(content) // 3
    content[at : at + 4096] = bytes(4096)
    video.write_bytes(content)
    labels = {
        n: [int(disfa_intensity("SN001", au, 12)[n - 1] >= 2) for au in DISFA_AUS] for n in range(1, 13)
    }
    arguments = ["prepare", source, "--root", raw, "--out", "s", "--size", 64, "--workers", 1]
    if source == "folder":
        rows = [f"{video.relative_to(raw)},{n}," + ",".join(map(str, codes)) for n, codes in labels.items()]
        header = "file,frame," + ",".join(f"AU{au}" for au in DISFA_AUS)
        (tmp_path / "labels.csv").write_text("\n".join([header, *rows]))
        arguments += ["--labels", tmp_path / "labels.csv"]
    assert fau_mae(*arguments) == 0
    store = FaceStore(tmp_path / "s")
    frames = store.column("frame").tolist()
    assert store.column("labels").tolist() == [labels[frame] for frame in frames]
    with (tmp_path / "s/skipped.csv").open() as file:
        lost = {int(row["frame"]): row["reason"] for row in csv.DictReader(file)}
    assert sorted([*frames, *lost]) == list(range(1, 13)) and 1 <= len(lost) <= 3
    assert set(lost.values()) == {"frame damaged"} and store.info.counts["frame damaged"] == len(lost)
