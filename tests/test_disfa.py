"""DISFA from its layout on disk to a store."""

import csv
from pathlib import Path

import numpy as np
import pytest
from fixtures_datasets import disfa_intensity, numbered_frame, write_disfa, write_video
from scipy.io import savemat

from data_modules.disfa import BAD_FRAMES, DISFA_PARTS, find_subjects, prepare_disfa, read_labels
from data_modules.errors import UserError
from data_modules.faces.alignment import face_from_landmarks
from data_modules.facs import DISFA_ALL_AUS, DISFA_AUS
from data_modules.stores.store import FaceStore


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def skipped(store: FaceStore) -> list[tuple[str, int, str]]:
    with (store.path / "skipped.csv").open() as file:
        return [(row["sequence"], int(row["frame"]), row["reason"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_disfa(tmp_path_factory.mktemp("disfa"), frames=6, faceless=[4])


@pytest.fixture(scope="module")
def store(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    out = tmp_path_factory.mktemp("stores") / "disfa"
    return prepare_disfa(raw, out, size=96, aus=DISFA_ALL_AUS, workers=1, progress=False)


def test_every_frame_is_stored_or_accounted_for(store: FaceStore) -> None:
    assert len(store) == 15 and store.info.counts["rows"] == 15 and store.info.counts["frames"] == 18
    assert store.info.counts["no face found"] == 3
    assert skipped(store) == [(name, 4, "no face found") for name in ("SN001", "SN003", "SN006")]


def test_labels_and_intensities_are_those_of_the_text_files(store: FaceStore) -> None:
    for row, (subject, frame) in enumerate(zip(store.column("subject"), store.column("frame"))):
        expected = [disfa_intensity(subject, au, 6)[frame - 1] for au in DISFA_ALL_AUS]
        np.testing.assert_array_equal(store.column("intensity")[row], expected)
        np.testing.assert_array_equal(store.column("labels")[row], np.array(expected) >= 2)


def test_the_store_says_how_it_was_made(store: FaceStore) -> None:
    assert store.info.options["camera"] == "left" and store.info.options["preset"] == "canonical"
    assert store.info.parts == DISFA_PARTS
    assert set(store.column("source")) == {
        f"Videos_LeftCamera/LeftVideo{name}_comp.avi" for name in ("SN001", "SN003", "SN006")
    }
    assert all(len(value) == 32 for value in store.column("source_hash"))


def test_workers_do_not_change_a_byte(raw: Path, store: FaceStore, tmp_path: Path) -> None:
    again = prepare_disfa(raw, tmp_path / "b", size=96, aus=DISFA_ALL_AUS, workers=2, progress=False)
    assert files_of(again.path) == files_of(store.path)


def test_options_choose_camera_and_aus(raw: Path, tmp_path: Path) -> None:
    store = prepare_disfa(raw, tmp_path / "s", size=64, camera="right", workers=1, progress=False)
    assert store.info.aus == DISFA_AUS and store.column("source")[0].startswith("Videos_RightCamera/Right")


def test_bad_frames_are_dropped_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BAD_FRAMES, "SN001", ((2, 3),))
    raw = write_disfa(tmp_path / "raw", ["SN001"], frames=4)
    kept = prepare_disfa(raw, tmp_path / "a", size=64, workers=1, progress=False)
    dropped = prepare_disfa(raw, tmp_path / "b", size=64, drop_bad_frames=True, workers=1, progress=False)
    assert list(kept.column("frame")) == [1, 2, 3, 4] and list(dropped.column("frame")) == [1, 4]
    assert [frame for _, frame, _ in skipped(dropped)] == [2, 3]


def test_label_and_video_of_different_length(tmp_path: Path) -> None:
    """SN010 lacks its last label; here one AU file is shorter still, and one video breaks off."""
    raw = write_disfa(tmp_path / "raw", ["SN001", "SN010"], frames=5)
    folder = raw / "ActionUnit_Labels" / "SN010"
    for au in DISFA_ALL_AUS:
        path = folder / f"SN010_au{au}.txt"
        lines = path.read_text().splitlines()[: 3 if au == 12 else 4]
        path.write_bytes("\r\n".join(lines).encode() + b"\r\n\r\n")
    video = raw / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi"
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 6 // 10])
    store = prepare_disfa(raw, tmp_path / "s", size=64, workers=1, progress=False)
    rows = {(s, f): labels for s, f, labels in zip(*map(store.column, ("subject", "frame", "labels")))}
    assert max(frame for subject, frame in rows if subject == "SN010") == 4
    assert rows["SN010", 4][DISFA_AUS.index(12)] == -1 and rows["SN010", 4][DISFA_AUS.index(1)] >= 0
    assert np.isnan(store.column("intensity")[-1][DISFA_AUS.index(12)])
    lost = [frame for name, frame, why in skipped(store) if name == "SN001" and why == "video breaks off"]
    assert lost and lost == list(range(lost[0], 6)) and ("SN010", 5, "no label") in skipped(store)


def test_a_missing_video_is_counted_and_a_damaged_one_refused(tmp_path: Path) -> None:
    """An MP4 whose end is missing has no index and so no frame; the other file is a zip."""
    raw = write_disfa(tmp_path / "raw", ["SN001", "SN003", "SN006"], frames=3)
    videos = raw / "Videos_LeftCamera"
    (videos / "LeftVideoSN006_comp.avi").unlink()
    store = prepare_disfa(raw, tmp_path / "s", size=64, workers=1, progress=False)
    assert store.info.counts["video missing"] == 3
    assert skipped(store) == [("SN006", frame, "video missing") for frame in (1, 2, 3)]
    whole = tmp_path / "whole.mp4"
    write_video(whole, (numbered_frame(n) for n in range(1, 4)), "libx264")
    for content in (whole.read_bytes()[:-400], b"PK\x03\x04" * 100):
        (videos / "LeftVideoSN001_comp.avi").write_bytes(content)
        with pytest.raises(UserError, match="LeftVideoSN001_comp"):
            prepare_disfa(raw, tmp_path / "other", size=64, workers=1, progress=False)
        assert not (tmp_path / "other").exists()


def wrong_columns(raw: Path) -> None:
    (raw / "ActionUnit_Labels/SN001/SN001_au4.txt").write_text("1,0\n2,0,3\n")


def wrong_value(raw: Path) -> None:
    (raw / "ActionUnit_Labels/SN001/SN001_au4.txt").write_text("1,0\n2,7\n")


def not_a_number(raw: Path) -> None:
    (raw / "ActionUnit_Labels/SN001/SN001_au4.txt").write_text("1,0\n2,nan\n")


def missing_labels(raw: Path) -> None:
    (raw / "ActionUnit_Labels/SN001/SN001_au4.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (wrong_columns, "SN001_au4.txt line 2: 3 columns"),
        (wrong_value, "SN001_au4.txt line 2: intensity 7"),
        (not_a_number, "SN001_au4.txt line 2: '2,nan'"),
        (missing_labels, "SN001_au4.txt is missing"),
    ],
)
def test_bad_input_is_named_in_one_line_and_leaves_nothing(tmp_path: Path, spoil, says: str) -> None:
    raw = write_disfa(tmp_path / "raw", ["SN001"], frames=2)
    spoil(raw)
    with pytest.raises(UserError, match=says) as error:
        prepare_disfa(raw, tmp_path / "s", size=64, workers=1, progress=False)
    assert "\n" not in str(error.value) and [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        prepare_disfa(tmp_path / "nowhere", tmp_path / "s", progress=False)


def test_the_published_lists() -> None:
    assert [list(DISFA_PARTS.values()).count(part) for part in (1, 2, 3)] == [9, 9, 9]
    assert sum(last - first + 1 for runs in BAD_FRAMES.values() for first, last in runs) == 4670


def test_frames_and_subjects_per_published_part(tmp_path: Path) -> None:
    """Labels of DISFA's full size: 27 subjects and 130,814 frames, SN010 one short of 4,845."""
    (tmp_path / "Videos_LeftCamera").mkdir()
    for subject in DISFA_PARTS:
        folder = tmp_path / "ActionUnit_Labels" / subject
        folder.mkdir(parents=True)
        frames = 4844 if subject == "SN010" else 4845
        (folder / f"{subject}_au1.txt").write_text("".join(f"{f},0\n" for f in range(1, frames + 1)))
    (tmp_path / "Videos_LeftCamera" / "LeftVideoSN001_comp.avi").touch()
    counts = {1: 0, 2: 0, 3: 0}
    for job in find_subjects(tmp_path, "left", (1,), False):
        counts[DISFA_PARTS[job.subject]] += len(read_labels(job))
    assert counts == {1: 43_604, 2: 43_605, 3: 43_605}


def test_landmarks_of_the_data_set_place_the_crop(tmp_path: Path) -> None:
    """A frame's landmark file, of either naming, says where the face is; without one it is detected."""
    raw = write_disfa(tmp_path / "raw", ["SN001"], frames=4)
    folder = raw / "Landmark_Points" / "SN001" / "tmp_frame_lm"
    folder.mkdir(parents=True)
    points = np.random.default_rng(0).uniform(60, 180, (66, 2))
    savemat(folder / "SN001_0000_lm.mat", {"pts": points})
    savemat(folder / "l00001_lm.mat", {"pts": points})
    (folder / "SN001_0003_lm.mat").write_bytes(b"not a mat file")
    store = prepare_disfa(raw, tmp_path / "s", size=64, workers=1, progress=False)
    assert [len(store.landmarks(row)) for row in range(4)] == [66, 66, 5, 5]
    assert store.info.counts["faces from landmarks"] == 2 and store.info.counts["landmarks missing"] == 2
    np.testing.assert_allclose(store.column("box")[0], face_from_landmarks(points).box, rtol=1e-5)
    without = prepare_disfa(raw, tmp_path / "t", size=64, landmarks=False, workers=1, progress=False)
    assert [len(without.landmarks(row)) for row in range(4)] == [5, 5, 5, 5]
