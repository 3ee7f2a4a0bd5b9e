"""The column `frame` of a label table: whole numbers from 1, or the line is named."""

from collections.abc import Callable
from pathlib import Path

import cv2
import pandas as pd
import pytest
from fixtures_datasets import numbered_frame, read_number, write_video

from data_modules.faces.video import Video
from data_modules.stores.store import FaceStore

Run = Callable[..., int]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    write_video(tmp_path / "raw/v.mp4", (numbered_frame(n) for n in range(1, 7)), "libx264")
    cv2.imwrite(str(tmp_path / "raw/p.png"), numbered_frame(40)[..., ::-1])
    return tmp_path / "raw"


def prepare(fau_mae: Run, labels: str) -> int:
    options = ["--labels", labels, "--size", 64, "--workers", 1]
    return fau_mae("prepare", "folder", "--root", "raw", "--out", "s", *options)


@pytest.mark.parametrize(
    "cell", ["f2", "00:00:01", "2.5", "-3", "0", "1e2", "nan", "2;3", "1_0", "٣", "0x2", "frame 2", "+2"]
)
def test_a_cell_that_is_no_whole_number_is_named(fau_mae: Run, raw: Path, capsys, cell: str) -> None:
    text = f"file,frame,AU1\nv.mp4,1,0\nv.mp4,{cell},1\n"
    (raw.parent / "t.csv").write_text(text, encoding="utf-8")
    assert prepare(fau_mae, "t.csv") == 2
    said = capsys.readouterr().err
    assert "t.csv line 3: frame" in said and cell in said and said.count("\n") == 1
    assert not (raw.parent / "s").exists()


@pytest.mark.parametrize("cells", [("2", "5", "6"), ("2.0", "5.0", "6."), (" 2", "5 ", "006")])
def test_each_label_lies_on_its_frame(fau_mae: Run, raw: Path, cells: tuple[str, ...]) -> None:
    rows = [f"v.mp4,{cell},{place % 2}" for place, cell in enumerate(cells)]
    (raw.parent / "t.csv").write_text("\n".join(["file,frame,AU1", *rows]))
    assert prepare(fau_mae, "t.csv") == 0
    store = FaceStore(raw.parent / "s")
    assert store.column("frame").tolist() == [2, 5, 6]
    assert store.column("labels").ravel().tolist() == [0, 1, 0]
    assert store.info.counts["no label"] == 3
    assert [read_number(picture) for _, picture in Video(raw / "v.mp4")] == [1, 2, 3, 4, 5, 6]


def test_parquet_with_gaps_stands_for_all_other_frames(fau_mae: Run, raw: Path) -> None:
    """A row without a frame labels what no other row does; a picture keeps the number it is given."""
    table = pd.DataFrame(
        {
            "file": ["v.mp4", "v.mp4", "p.png"],
            "frame": [None, 3.0, 40.0],
            "AU1": [0, 1, 1],
            "subject": ["x"] * 3,
        }
    )
    table.to_parquet(raw.parent / "t.parquet")
    assert prepare(fau_mae, "t.parquet") == 0
    store = FaceStore(raw.parent / "s")
    labels = dict(zip(store.column("frame").tolist(), store.column("labels").ravel().tolist()))
    assert labels == {40: 1, 1: 0, 2: 0, 3: 1, 4: 0, 5: 0, 6: 0}


@pytest.mark.parametrize(
    "rows",
    [
        "v.mp4,2,0\nv.mp4,2,1",
        "v.mp4,2,1\n./v.mp4,2.0,1",
        "v.mp4,,0\nv.mp4,,1",
        "p.png,1,0\np.png,2,1",
        "p.png,,1\nq.png,,0",
    ],
)
def test_a_frame_is_labelled_once(fau_mae: Run, raw: Path, capsys, rows: str) -> None:
    """Also under another spelling of its path, another number of a picture, or a link."""
    (raw / "q.png").symlink_to("p.png")
    (raw.parent / "t.csv").write_text(f"file,frame,AU1\n{rows}\n")
    assert prepare(fau_mae, "t.csv") == 2
    assert "line 3" in (said := capsys.readouterr().err) and "labelled twice" in said and "in line 2" in said
