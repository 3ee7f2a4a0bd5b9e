"""The synthetic data set as a store: resumable, the same from any number of workers, clear errors."""

import errno
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from datasets import Image, load_from_disk

from data_modules import synthetic
from data_modules.errors import UserError
from data_modules.facs import SYNTHETIC_AUS
from data_modules.stores.store import FaceStore
from data_modules.stores.store_writer import StoreWriter
from data_modules.synthetic import prepare_synthetic
from data_modules.synthetic_faces.sampler import PRESENCE_THRESHOLD
from data_modules.synthetic_faces.sheets import check_sheet, clip_sheet, preview_sheet


def small(out, **changes):
    options = {"identities": 2, "frames": 3, "size": 48, "seed": 5, "workers": 1, "progress": False} | changes
    return prepare_synthetic(out, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small(tmp_path_factory.mktemp("synthetic") / "store")


def test_store_holds_what_the_renderer_knows(store):
    assert len(store) == 6 and store.info.dataset == "synthetic" and store.info.aus == SYNTHETIC_AUS
    assert store.info.encoding == "jpeg95" and store.info.size == 48
    labels, intensity = store.column("labels"), store.column("intensity")
    assert labels.shape == intensity.shape == (6, len(SYNTHETIC_AUS))
    np.testing.assert_array_equal(labels, intensity >= PRESENCE_THRESHOLD)
    assert set(store.table["subject"]) == {"S00000", "S00001"} and store.table["frame"][:3] == [0, 1, 2]
    assert len(set(store.column("sample_id"))) == 6
    for row in range(6):
        assert store.image(row).shape == (48, 48, 3)
        assert store.landmarks(row).shape == (68, 2)
    assert len(load_from_disk(str(store.path))) == 6


def test_workers_and_ranges_do_not_change_faces(store, tmp_path):
    other = small(tmp_path / "one", identities=1, first_identity=1, workers=2)
    for row in range(3):
        np.testing.assert_array_equal(other.image(row), store.image(row + 3))
        assert other.column("sample_id")[row] == store.column("sample_id")[row + 3]


def test_two_processes_write_the_same_bytes(store, tmp_path):
    parallel = small(tmp_path / "parallel", workers=2)
    assert parallel.table.data.column("image") == store.table.data.column("image")


def test_an_interrupted_run_goes_on(store, tmp_path, monkeypatch):
    written = []
    real = StoreWriter.write_part

    def stop_after_first(self, sequence, rows, counts=None):
        if written:
            raise KeyboardInterrupt
        written.append(sequence)
        real(self, sequence, rows, counts)

    monkeypatch.setattr(StoreWriter, "write_part", stop_after_first)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "store")
    monkeypatch.setattr(StoreWriter, "write_part", real)
    drawn = []
    real_draw = synthetic.draw_identity
    monkeypatch.setattr(synthetic, "draw_identity", lambda seed, n: drawn.append(n) or real_draw(seed, n))
    resumed = small(tmp_path / "store")
    assert written == ["S00000"] and drawn == [1]
    assert resumed.table.data.column("image") == store.table.data.column("image")
    drawn.clear()
    assert len(small(tmp_path / "store")) == 6 and not drawn  # finished: nothing to do


def test_clips_are_sequences(tmp_path):
    clips = small(tmp_path / "clips", identities=1, frames=8, clips=True)
    assert set(clips.table["task"]) == {"clip"} and clips.table["frame"] == list(range(8))
    steps = [np.abs(clips.image(k).astype(int) - clips.image(k + 1)).mean() for k in range(7)]
    assert max(steps) < 12  # neighbours look alike


def test_command_line_makes_clips(fau_mae, tmp_path, capsys):
    """Frames of a person follow each other: neutral at first, AUs that rise and fall, labelled one by one."""
    arguments = ["--identities", 2, "--frames", 60, "--size", 32, "--seed", 4, "--workers", 1]
    assert fau_mae("prepare", "synthetic", "--clips", *arguments, "--out", tmp_path / "clips") == 0
    assert "120 rows" in capsys.readouterr().out
    store = FaceStore(tmp_path / "clips")
    assert set(store.table["task"]) == {"clip"} and store.table["frame"] == [*range(60)] * 2
    for start in (0, 60):
        intensity = store.column("intensity")[start : start + 60]
        steps = np.abs(np.diff(intensity, axis=0))
        assert (intensity[0] == 0).all() and (intensity[-1] < 1).all() and intensity.max() > 1.5
        assert steps[:, [au != 25 for au in SYNTHETIC_AUS]].max() < 1.5  # AU25 begins at 1: a visible gap
        np.testing.assert_array_equal(
            store.column("labels")[start : start + 60], intensity >= PRESENCE_THRESHOLD
        )
        nose = np.stack([store.landmarks(start + k)[30] for k in range(60)])
        # Moves, smoothly.
        assert np.ptp(nose, axis=0).max() > 0.1 and np.abs(np.diff(nose, axis=0)).max() < 1.5


def test_command_line_styles_differ(fau_mae, tmp_path):
    rates = {}
    for style in ("bp4d", "disfa"):
        out = tmp_path / style
        arguments = ["--identities", 1, "--frames", 40, "--size", 32, "--workers", 1, "--out", out]
        assert fau_mae("prepare", "synthetic", "--style", style, *arguments) == 0
        store = FaceStore(out)
        assert store.info.options["style"] == style
        rates[style] = store.column("labels").mean()
    assert rates["disfa"] < 0.6 * rates["bp4d"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--style", "happy", "unknown style 'happy'"),
        ("--size", "8", "size must be a whole number from 32 to 1024"),
        ("--frames", "0", "frames must be"),
        ("--seed", "-1", "seed must be"),
    ],
)
def test_command_line_refuses_in_one_line(fau_mae, tmp_path, capsys, option, value, words):
    assert fau_mae("prepare", "synthetic", "--out", tmp_path / "store", option, value) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and "\n" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 8}, "size must be a whole number from 32 to 1024"),
        ({"size": 96.5}, "size must be"),
        ({"identities": 0}, "identities must be"),
        ({"frames": -1}, "frames must be"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**40}, "seed must be"),
        ({"first_identity": 99_999}, "at most 100000"),
        ({"workers": 0}, "workers must be"),
        ({"style": "happy"}, "unknown style 'happy'"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, changes, words):
    with pytest.raises(UserError, match=words) as caught:
        small(tmp_path / "store", **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_out_is_a_file(tmp_path):
    (tmp_path / "store").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        small(tmp_path / "store")


def test_full_disk_is_one_line_and_leaves_no_store(tmp_path, monkeypatch):
    def full(self, sequence, rows, counts=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(StoreWriter, "write_part", full)
    with pytest.raises(UserError, match="No space left"):
        small(tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["sheet.png", "sheet.JPG"])
def test_preview(tmp_path, name):
    path = preview_sheet(tmp_path / "new" / name, seed=2, size=40, columns=3, rows=2)
    assert cv2.imread(str(path)).shape == (80, 120, 3)
    check_sheet(path)  # may be made anew
    with pytest.raises(UserError, match=r"\.png or \.jpg"):
        check_sheet(tmp_path / "sheet.tiff")
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_clip_preview(tmp_path):
    path = clip_sheet(tmp_path / "clips.png", seed=2, size=32, columns=4, rows=2)
    assert cv2.imread(str(path)).shape == (64, 128, 3)


def test_datasets_shows_the_pictures(tiny_store: FaceStore) -> None:
    table = load_from_disk(str(tiny_store.path))
    assert isinstance(table.features["image"], Image)
    # Of two JPEG decoders.
    np.testing.assert_allclose(np.asarray(table[3]["image"]), tiny_store.image(3), atol=2)


def test_a_store_of_the_format_before_is_read(tiny_store: FaceStore, tmp_path: Path) -> None:
    """Format 1: the bytes of a picture stand in the column itself."""
    old = tmp_path / "old"
    shutil.copytree(tiny_store.path, old)
    meta = json.loads((old / "store.json").read_text())
    del meta["checks"]
    (old / "store.json").write_text(json.dumps({**meta, "format_version": 1}))
    info = json.loads((old / "dataset_info.json").read_text())
    info["features"]["image"] = {"dtype": "binary", "_type": "Value"}
    (old / "dataset_info.json").write_text(json.dumps(info))
    (shard,) = old.glob("data-*.arrow")
    with pa.ipc.open_stream(shard.read_bytes()) as stream:
        table = stream.read_all()
    place = table.schema.get_field_index("image")
    table = table.set_column(place, "image", table["image"].flatten()[0])
    with pa.ipc.new_stream(str(shard), table.schema) as stream:
        stream.write_table(table)
    store = FaceStore(old)
    assert pa.types.is_binary(store.table.data.schema.field("image").type)
    for row in range(len(store)):
        np.testing.assert_array_equal(store.image(row), tiny_store.image(row))
    (old / "store.json").write_text(json.dumps({**meta, "format_version": 3}))
    with pytest.raises(UserError, match="format 3"):
        FaceStore(old)
