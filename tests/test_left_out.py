"""Every row and file that is left out is counted with its reason, also when nothing is left."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from fixtures_datasets import numbered_frame, write_bp4d, write_bp4d_labels, write_disfa, write_video

from data_modules.stores.store import FaceStore

Run = Callable[..., int]
SMALL = ["--out", "s", "--size", 64, "--workers", 1]


def pictures(root: Path, *names: str, face: bool = True) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), numbered_frame(number, face)[..., ::-1])


def reasons(out: Path) -> Counter[str]:
    with (out / "skipped.csv").open() as file:
        return Counter(row["reason"] for row in csv.DictReader(file))


def test_files_of_other_kinds_are_counted_by_kind(fau_mae: Run, tmp_path: Path, capsys) -> None:
    pictures(tmp_path / "raw", "a/1.png", "a/2.JPG", "b/1.webp")
    for name in ("a/3.heic", "a/4.gif", "b/2.HEIC", "b/notes", "b/face.psd"):
        (tmp_path / "raw" / name).write_bytes(b"0")
    assert fau_mae("prepare", "folder", "--root", "raw", *SMALL) == 0
    counts = FaceStore(tmp_path / "s").info.counts
    kinds = {reason: n for reason, n in counts.items() if reason.startswith("neither")}
    expected = {".heic": 2, ".gif": 1, "no ending": 1, ".psd": 1}
    assert kinds == {f"neither picture nor video ({kind})": n for kind, n in expected.items()}
    assert "2 neither picture nor video (.heic)" in capsys.readouterr().out


def test_a_table_and_its_folder_are_compared(fau_mae: Run, tmp_path: Path) -> None:
    """Files without a row, rows without a file, rows of a folder's name, a damaged file."""
    pictures(tmp_path / "raw", "a/1.png", "a/2.png", "b/1.png", "c/1.png")
    (tmp_path / "raw/c/2.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
    rows = ["a/1.png", "a/9.png", "c/2.png", "c", "b/1.mp4"]
    (tmp_path / "t.csv").write_text("\n".join(["file,AU1", *(f"{row},1" for row in rows)]))
    assert fau_mae("prepare", "folder", "--root", "raw", "--labels", "t.csv", *SMALL) == 0
    store = FaceStore(tmp_path / "s")
    assert store.info.counts["file that the table does not name"] == 3 and len(store) == 1
    assert reasons(tmp_path / "s") == {"picture missing": 2, "picture cannot be read": 1, "video missing": 1}
    assert store.info.counts["frames"] == len(rows)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "all 4 frames are left out: 4 picture missing; first: gone/0.png"),
        ("broken", "all 3 frames are left out: 3 picture cannot be read; first: a/0.png"),
        ("faceless", "all 2 frames are left out: 2 no face found; first: a/0.png"),
        ("mixed", "all 3 frames are left out: 2 no face found, 1 video missing; first: "),
    ],
)
def test_when_nothing_is_left_the_reasons_are_said(fau_mae: Run, tmp_path: Path, capsys, what, says) -> None:
    raw, rows = tmp_path / "raw", []
    raw.mkdir()
    if what == "missing":
        rows = [f"gone/{n}.png" for n in range(4)]
    elif what == "broken":
        rows = [f"a/{n}.png" for n in range(3)]
        (raw / "a").mkdir()
        for row in rows:
            (raw / row).write_bytes(b"no picture")
    else:
        rows = ["a/0.png", "a/1.png"]
        pictures(raw, *rows, face=False)
        rows += ["b.mp4"] * (what == "mixed")
    (tmp_path / "t.csv").write_text("\n".join(["file,AU1", *(f"{row},1" for row in rows)]))
    assert fau_mae("prepare", "folder", "--root", "raw", "--labels", "t.csv", *SMALL) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not (tmp_path / "s").exists()


def test_published_sets_count_what_has_no_labels(fau_mae: Run, tmp_path: Path) -> None:
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1"), ("F003", "T2")], frames=3)
    write_bp4d_labels(raw, "F001", "T1", 2)
    (raw / "AUCoding/AU_OCC/F003_T2.csv").unlink()
    assert fau_mae("prepare", "bp4d", "--root", "raw", *SMALL) == 0
    counts = FaceStore(tmp_path / "s").info.counts
    assert counts["picture without a code"] == 1 and counts["task without a label file"] == 1
    raw = write_disfa(tmp_path / "disfa", ["SN001"], frames=2)
    write_video(raw / "Videos_LeftCamera/LeftVideoSN003_comp.avi", [numbered_frame(1)])
    assert fau_mae("prepare", "disfa", "--root", "disfa", "--out", "d", "--size", 64, "--workers", 1) == 0
    assert FaceStore(tmp_path / "d").info.counts["video without labels"] == 1


def test_an_unlabelled_video_that_breaks_off_is_counted(fau_mae: Run, tmp_path: Path) -> None:
    """Three kinds of loss: the end of an AVI, a sector in its middle, an MP4 without its index."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("cut.avi", "hit.avi", "open.mp4"):
        codec = "mjpeg" if name.endswith("avi") else "libx264"
        write_video(raw / name, (numbered_frame(n) for n in range(1, 13)), codec)
    content = bytearray((raw / "cut.avi").read_bytes())
    (raw / "cut.avi").write_bytes(content[: len(content) // 2])
    content[len(content) // 2 : len(content) // 2 + 4096] = bytes(4096)
    (raw / "hit.avi").write_bytes(content)
    (raw / "open.mp4").write_bytes((raw / "open.mp4").read_bytes()[:-400])
    assert fau_mae("prepare", "folder", "--root", "raw", *SMALL) == 0
    store, lost = FaceStore(tmp_path / "s"), reasons(tmp_path / "s")
    assert len(store) + sum(lost.values()) == 25  # twelve frames of two videos, one entry of the third
    assert lost["video cannot be read"] == 1 and 4 <= lost["video breaks off"] <= 10
    assert 1 <= lost["frame damaged"] <= 3


@pytest.mark.parametrize("command", ["detect", "occlude"])
def test_every_command_walks_a_folder_alike(
    fau_mae: Run, capsys, tmp_path: Path, teacher: Path, command: str
) -> None:
    """Hidden files and folders, links and other kinds are counted; none of them is a failure."""
    pictures(tmp_path / "raw", "a/1.png", "b/2.bmp", ".cache/1.png", "b/__MACOSX/1.png", "a/._1.png")
    (tmp_path / "raw/b/link.png").symlink_to("../a/1.png")
    (tmp_path / "raw/b/back").symlink_to("..")
    for name in ("notes.md", "Thumbs.db", "a/x.heic"):
        (tmp_path / "raw" / name).write_bytes(b"0")
    more = ["--checkpoint", teacher] if command == "detect" else ["--kind", "block", "--severity", 0.5]
    assert fau_mae(command, "raw", "--out", "raw/out", *more) == 0
    said = capsys.readouterr()
    (counted,) = [line for line in said.out.splitlines() if line.startswith("not read: ")]
    for words in (
        "2 hidden folder",
        " hidden file,",
        "1 link to a file that is read already",
        "(.heic)",
        "(.db)",
    ):
        assert words in counted
    assert "1 link to a folder that is read already" in counted and said.err == ""
    wanted = {"1.png", "2.png"} if command == "detect" else {"1.png.png", "2.bmp.png"}
    assert {path.name for path in (tmp_path / "raw/out").rglob("*.png") if "mask" not in path.name} == wanted


def test_one_file_of_a_list_never_costs_the_others(
    fau_mae: Run, capsys, tmp_path: Path, teacher: Path
) -> None:
    pictures(tmp_path, "1.png", "a/1.png")
    (tmp_path / "notes.txt").write_text("from a glob")
    (tmp_path / "half.avi").write_bytes(b"RIFF half")
    line = [
        "detect",
        "1.png",
        "notes.txt",
        "half.avi",
        "a",
        "./a/1.png",
        "--checkpoint",
        teacher,
        "--out",
        "o",
    ]
    assert fau_mae(*line) == 1
    said = capsys.readouterr()
    assert "notes.txt: neither a picture nor a video" in said.err and "half.avi" in said.err
    assert "1 file that is given twice" in said.out and len(list((tmp_path / "o").glob("*.png"))) == 2
    assert fau_mae("detect", "1.png", "no.png", "--checkpoint", teacher, "--out", "p") == 2


def test_equal_names_cost_one_look_each(monkeypatch) -> None:
    """The names tried for overlays are as many as the files, whatever many folders call them."""
    from fau_mae.inference import detect

    tried = 0

    class Taken(set):
        def __contains__(self, name: object) -> bool:
            nonlocal tried
            tried += 1
            return super().__contains__(name)

    monkeypatch.setattr(detect, "set", Taken, raising=False)
    files = [Path(f"{folder}/{name}.png") for folder in range(60) for name in ("x", "x-2", "x-3", "y")]
    names = detect._overlay_names(files)
    assert len(set(names.values())) == len(files) <= tried < 3 * len(files)


def test_what_prepare_could_not_read_is_named(fau_mae: Run, capsys, tmp_path: Path) -> None:
    pictures(tmp_path / "raw", "a/1.png")
    (tmp_path / "raw/a/2.jpg").write_bytes(b"no picture")
    write_video(tmp_path / "raw/cut.avi", (numbered_frame(n) for n in range(1, 13)))
    whole = (tmp_path / "raw/cut.avi").read_bytes()
    (tmp_path / "raw/cut.avi").write_bytes(whole[: len(whole) // 2])
    assert fau_mae("prepare", "folder", "--root", "raw", *SMALL) == 0
    error = capsys.readouterr().err
    assert "left out: a/2.jpg: picture cannot be read" in error
    assert "left out: cut.avi broke off before frame " in error and " of 12" in error
