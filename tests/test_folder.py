"""Any collection of pictures and videos, with a table or without, to a store; hostile tables."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from fixtures_datasets import numbered_frame, write_video

from data_modules.errors import UserError
from data_modules.folder import prepare_folder
from data_modules.folds import split_rows
from data_modules.stores.store import FaceStore


def prepare(raw: Path, out: Path, **options) -> FaceStore:
    return prepare_folder(raw, out, size=64, workers=1, progress=False, **options)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """ann/ and bob/ with two pictures each, a video, and files that are none."""
    root = tmp_path / "raw"
    for number, name in enumerate(["ann/1.png", "ann/2.png", "bob/1.png", "bob/2.jpg"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), cv2.cvtColor(numbered_frame(number), cv2.COLOR_RGB2BGR))
    write_video(root / "cid.mp4", (numbered_frame(n) for n in range(1, 5)), "libx264")
    (root / "readme.txt").write_text("not a picture")
    return root


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_labels_every_picture_and_frame_is_stored(raw: Path, tmp_path: Path) -> None:
    (raw / "ann" / "3.jpg").write_bytes(b"PK\x03\x04 a zip by another name")
    (raw / "dan.mp4").write_bytes((raw / "cid.mp4").read_bytes()[:-400])  # without its index
    store = prepare(raw, tmp_path / "s")
    assert store.info.aus == () and store.column("labels").shape == (8, 0)
    assert list(store.column("subject")) == ["ann"] * 2 + ["bob"] * 2 + ["cid.mp4"] * 4
    assert list(store.column("frame")) == [0, 0, 0, 0, 1, 2, 3, 4]
    assert store.info.counts["picture cannot be read"] == store.info.counts["video cannot be read"] == 1
    assert len(set(store.column("sample_id"))) == 8


def test_a_table_brings_its_own_aus_subjects_and_folds(raw: Path, tmp_path: Path) -> None:
    text = (
        "file,frame,subject,fold,AU12,AU61,AU12_intensity\r\n"
        "ann/1.png,,A,1,1,0,3.5\r\nbob/1.png,,B,2,0,,0\r\ncid.mp4,2,C,3,1,1,5\r\ncid.mp4,9,C,3,0,0,0\r\n"
        "gone.png,,A,1,1,1,1\r\n"
    )
    store = prepare(raw, tmp_path / "s", labels=table(tmp_path / "labels.csv", text), name="own")
    assert store.info.dataset == "own" and store.info.aus == (12, 61)
    assert store.column("labels").tolist() == [[1, 0], [0, -1], [1, 1]]
    np.testing.assert_array_equal(store.column("intensity"), [[3.5, np.nan], [0, np.nan], [5, np.nan]])
    assert list(store.column("frame")) == [0, 0, 2]
    with (store.path / "skipped.csv").open() as file:
        skipped = {(row["source"], row["frame"], row["reason"]) for row in csv.DictReader(file)}
    assert skipped == {("gone.png", "0", "picture missing"), ("cid.mp4", "9", "video breaks off")} | {
        ("cid.mp4", str(frame), "no label") for frame in (1, 3, 4)
    }
    for fold, subject in ((1, "A"), (2, "B"), (3, "C")):
        split = split_rows(store, fold, 3, 0.3, seed=0)
        assert set(store.column("subject")[split.test]) == {subject}


def test_parquet_and_csv_give_the_same_rows(raw: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"file": ["ann/1.png", "bob/2.jpg"], "AU4": [1.0, None], "AU9": [0, 1]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    one, two = (prepare(raw, tmp_path / kind, labels=tmp_path / f"t.{kind}") for kind in ("parquet", "csv"))
    assert one.column("labels").tolist() == two.column("labels").tolist() == [[1, 0], [-1, 1]]
    assert [one.image(i).tobytes() for i in range(2)] == [two.image(i).tobytes() for i in range(2)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,AU1\n../secret.png,1\n", "line 2: '../secret.png' is not a path below"),
        ("file,AU1\nann/1.png,0\n/etc/passwd,1\n", "line 3: '/etc/passwd' is not a path below"),
        ("file,AU1\nann/1.png,7\n", "line 2: AU1 is '7', expected 0, 1 or empty"),
        ("file,AU1\nann/1.png,yes\n", "line 2: AU1 is 'yes'"),
        ("file,AU1,AU1_intensity\nann/1.png,1,inf\n", "line 2: AU1_intensity is 'inf'"),
        ("file,AU1\nann/1.png,1\nann/1.png,0\n", "line 3: ann/1.png is labelled twice"),
        ("file,frame,AU1\ncid.mp4,0,1\n", "line 2: frame '0'"),
        ("file,frame,AU1\ncid.mp4,4000000000,1\n", "line 2: frame '4000000000'"),
        ("file,smile\nann/1.png,1\n", "no AU column"),
        ("picture,AU1\nann/1.png,1\n", "no column named file"),
        ("file,subject,fold,AU1\nann/1.png,A,1,1\nbob/1.png,A,2,1\n", "subject A is in more than one fold"),
        ("", "is not a table that can be read"),
    ],
)
def test_hostile_tables_are_refused_in_one_line(raw: Path, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        prepare(raw, tmp_path / "s", labels=table(tmp_path / "labels.csv", text))
    assert says in str(error.value) and "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "raw"]


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        prepare(tmp_path / "nowhere", tmp_path / "s")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no picture or video"):
        prepare(tmp_path / "empty", tmp_path / "s")
