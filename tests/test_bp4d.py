"""BP4D from either label release to a store."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from fixtures_datasets import bp4d_codes, numbered_frame, write_bp4d, write_bp4d_labels

from data_modules.bp4d import BP4D_PARTS, find_sequences, prepare_bp4d, read_labels
from data_modules.disfa import DISFA_PARTS
from data_modules.errors import UserError
from data_modules.facs import BP4D_AUS
from data_modules.stores.store import FaceStore


def prepare(raw: Path, out: Path, **options) -> FaceStore:
    return prepare_bp4d(raw, out, size=64, workers=1, progress=False, **options)


def reasons(store: FaceStore) -> list[tuple[str, int, str]]:
    with (store.path / "skipped.csv").open() as file:
        return [(row["sequence"], int(row["frame"]), row["reason"]) for row in csv.DictReader(file)]


def check_labels(store: FaceStore, frames: int) -> None:
    for row in range(len(store)):
        subject, task, frame = (store.column(name)[row] for name in ("subject", "task", "frame"))
        codes = bp4d_codes(subject, task, frames)[frame - 1]
        np.testing.assert_array_equal(store.column("labels")[row], np.where(codes == 9, -1, codes))
        assert int(Path(store.column("source")[row]).stem) == frame


@pytest.mark.parametrize("release", ["original", "fera2015"])
def test_both_label_releases_and_any_padding(tmp_path: Path, release: str) -> None:
    raw = write_bp4d(tmp_path / "raw", frames=3, release=release)
    store = prepare(raw, tmp_path / "s")
    assert len(store) == 12 and store.info.options["release"] == release and store.info.parts == BP4D_PARTS
    assert store.info.counts["unknown labels"] == (store.column("labels") == -1).sum() > 0
    assert np.isnan(store.column("intensity")).all()
    check_labels(store, 3)


def test_what_is_missing_is_counted_and_listed(tmp_path: Path) -> None:
    """A missing picture, a damaged one, one without a face, one task without pictures; the rest is stored."""
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1")], frames=5)
    write_bp4d_labels(raw, "F002", "T3", 2)
    folder = raw / "Sequences(2D+3D)/F001/T1"
    (folder / "2.jpg").unlink()
    (folder / "3.jpg").write_bytes(b"PK\x03\x04 a zip by another name")
    cv2.imwrite(str(folder / "4.jpg"), numbered_frame(4, face=False))
    (folder / "Thumbs.db").write_bytes(b"")
    store = prepare(raw, tmp_path / "s")
    assert list(store.column("frame")) == [1, 5]
    assert sorted(reasons(store)) == [
        ("F001_T1", 2, "picture missing"), ("F001_T1", 3, "picture cannot be read"),
        ("F001_T1", 4, "no face found"), ("F002_T3", 1, "picture missing"), ("F002_T3", 2, "picture missing"),
    ]  # fmt: skip
    assert store.info.counts["frames"] == 7 == len(store) + len(reasons(store))
    check_labels(store, 5)


def test_the_frame_offset_moves_pictures_against_labels(tmp_path: Path) -> None:
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1")], frames=3)
    store = prepare(raw, tmp_path / "s", frame_offset=-1)
    assert [int(Path(source).stem) for source in store.column("source")] == [1, 2]
    assert list(store.column("frame")) == [2, 3]


def test_an_occluded_frame_of_fera_is_unknown(tmp_path: Path) -> None:
    path = write_bp4d_labels(tmp_path, "F001", "T1", 3, "fera2015")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:-1] + "1", lines[2]]))
    labels = read_labels(path, BP4D_AUS)
    assert labels[2] == [-1] * 12 and labels[1] != [-1] * 12


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2,0,1", "line 3: 3 columns, expected 14"),
        ("2," + ",".join(["7"] * 13), "line 3: code 7"),
        ("2," + ",".join(["nan"] * 13), "line 3: a cell is not a whole number"),
        ("1," + ",".join(["0"] * 13), "line 3: frame 1 is given twice"),
    ],
)
def test_a_malformed_label_file_is_named(tmp_path: Path, line: str, says: str) -> None:
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1")], frames=2)
    path = raw / "AUCoding/AU_OCC/F001_T1.csv"
    path.write_text("\n".join([*path.read_text().splitlines()[:2], line]))
    with pytest.raises(UserError, match=f"F001_T1.csv {says}"):
        prepare(raw, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_missing_roots_and_aus_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        prepare(tmp_path / "nowhere", tmp_path / "s")
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1")], frames=1)
    with pytest.raises(UserError, match="no column for AU43"):
        prepare(raw, tmp_path / "s", aus=(1, 43))


def test_frames_and_subjects_per_published_part(tmp_path: Path) -> None:
    """A label tree of BP4D's full size: 328 sequences and 146,847 coded frames over the published parts."""
    frames = {1: 50_631, 2: 50_182, 3: 46_034}
    for part, total in frames.items():
        names = [(s, f"T{t}") for s in BP4D_PARTS if BP4D_PARTS[s] == part for t in range(1, 9)]
        for place, (subject, task) in enumerate(names):
            share = total // len(names) + (place < total % len(names))
            path = tmp_path / "AUCoding" / "AU_OCC" / f"{subject}_{task}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            zeros = ",0" * len(BP4D_AUS)
            path.write_text(
                "0,"
                + ",".join(map(str, BP4D_AUS))
                + "\n"
                + "".join(f"{f}{zeros}\n" for f in range(1, share + 1))
            )
    (tmp_path / "Sequences(2D+3D)" / "F001" / "T1").mkdir(parents=True)
    sequences = find_sequences(tmp_path, BP4D_AUS, 0)
    assert len(sequences) == 328 and len({job.subject for job in sequences}) == 41
    counts = dict.fromkeys(frames, 0)
    for job in sequences:
        counts[BP4D_PARTS[job.subject]] += len(read_labels(job.labels, BP4D_AUS))
    assert counts == frames
    assert [list(BP4D_PARTS.values()).count(part) for part in (1, 2, 3)] == [14, 14, 13]
    assert len(DISFA_PARTS) == 27
