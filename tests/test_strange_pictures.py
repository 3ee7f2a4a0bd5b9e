"""Pictures and videos that a stranger gives: read right, or named and not read, by every command that reads any."""

import csv
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fixtures_datasets import numbered_frame, write_video
from PIL import Image

from data_modules.errors import UserError
from data_modules.faces.pictures import read_picture
from data_modules.faces.video import Video
from data_modules.stores.store import FaceStore

Run = Callable[..., int]
FACE = numbered_frame(5)[20:220]  # uint8 RGB (200, 320, 3)


def coded(kind: str, image: np.ndarray | Image.Image = FACE, **options) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds next to nothing."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]
    parts = [
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
        for tag, data in [*chunks, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def resized(picture: bytes, pattern: str, width: int, height: int) -> bytes:
    """The same file with another size in its header."""
    at = picture.index(struct.pack(pattern, *_as_written(pattern)))
    new = struct.pack(pattern, *((height, width) if pattern == ">HH" else (width, height)))
    return picture[:at] + new + picture[at + len(new) :]


def _as_written(pattern: str) -> tuple[int, int]:
    height, width = FACE.shape[:2]
    return (height, width) if pattern == ">HH" else (width, height)


def without(picture: bytes, share: float, size: int = 300) -> bytes:
    """`size` bytes from this share of the file on are overwritten with noise."""
    at = int(len(picture) * share)
    return picture[:at] + np.random.default_rng(1).bytes(size) + picture[at + size :]


def strange_pictures() -> dict[str, tuple[bytes, str]]:
    """Name -> content, and what is said of it."""
    jpeg, png, tiff = coded("JPEG"), coded("PNG"), coded("TIFF", compression="tiff_lzw")
    turned = [Image.fromarray(FACE[::-1])]
    too_long = coded("BMP", np.zeros((16, 33_000, 3), np.uint8))
    return {
        "thin.png": (coded("PNG", FACE[:, :7]), "7×200 pixels"),
        "flat.webp": (coded("WEBP", FACE[:3]), "320×3 pixels"),
        "long.bmp": (too_long, "33000×16 pixels"),
        "bomb.png": (png_header(70_000, 70_000), "too large"),
        "wide.png": (png_header(30_000, 4_000), "30000×4000 pixels"),
        "huge.jpg": (resized(jpeg, ">HH", 65_000, 64_000), "too large"),
        "large.jpg": (resized(jpeg, ">HH", 12_000, 9_000), "12000×9000 pixels"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "half.jpg"),
        "end.jpg": (jpeg[:-40], "end.jpg"),
        "garbled.jpg": (without(jpeg, 0.4), "damaged"),
        "progressive.jpeg": (without(coded("JPEG", progressive=True), 0.3), "damaged"),
        "grey.jpg": (without(coded("JPEG", FACE[..., 0]), 0.6), "damaged"),
        "half.png": (png[: len(png) // 3], "damaged"),
        "flipped.png": (without(png, 0.5, 4), "damaged"),
        "half.webp": (coded("WEBP")[:-900], "half.webp"),
        "half.tif": (tiff[: len(tiff) // 2], "half.tif"),
        "moving.png": (coded("PNG", save_all=True, append_images=turned), "holds 2 pictures"),
        "moving.webp": (coded("WEBP", save_all=True, append_images=turned), "holds 2 pictures"),
        "gif.png": (coded("GIF", save_all=True, append_images=turned), "holds 2 pictures"),
        "pages.tiff": (coded("TIFF", save_all=True, append_images=turned), "holds 2 pictures"),
        "depth.tif": (coded("TIFF", np.ones((64, 64), np.float32)), "measurements"),
        "zip.jpg": (b"PK\x03\x04 another kind", "not a picture that can be read"),
        "empty.png": (b"", "not a picture that can be read"),
        "page.pdf.png": (b"%PDF-1.7\n%%EOF\n", "not a picture that can be read"),
    }


STRANGE = strange_pictures()


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """A face and, beside it, every strange picture; what is no file or has no name to be written, and a text."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(coded("PNG"))
    for name, (content, _) in STRANGE.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "self.webp").symlink_to("self.webp")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xe9.png")).write_bytes(coded("PNG"))
    (folder / "README.txt").write_text("hello")
    return folder


NO_FILES = ("pipe.jpg", "gone.png", "self.webp", "\\xff\\xe9.png")


@pytest.mark.parametrize("command", ["detect", "occlude", "prepare"])
def test_strange_pictures_are_named_and_the_others_read(
    fau_mae: Run, capsys, strangers: Path, tmp_path: Path, teacher: Path, command: str
) -> None:
    before = {path: path.read_bytes() for path in strangers.iterdir() if path.is_file()}
    lines = {
        "detect": ["detect", "in", "--checkpoint", teacher, "--out", "out"],
        "occlude": ["occlude", "in", "--kind", "patches", "--severity", 0.5, "--out", "out"],
        "prepare": ["prepare", "folder", "--root", "in", "--size", 64, "--workers", 1, "--out", "out"],
    }
    code, said = fau_mae(*lines[command]), capsys.readouterr()
    assert before == {path: path.read_bytes() for path in before}
    if command == "prepare":
        assert code == 0
        with (tmp_path / "out/skipped.csv").open() as file:
            assert {row["source"] for row in csv.DictReader(file)} == set(STRANGE)
        counts = FaceStore(tmp_path / "out").info.counts
        assert counts["picture cannot be read"] == len(STRANGE) and counts["rows"] == 1
        assert (counts["link to nothing"], counts["not a regular file"]) == (2, 1)
        assert counts["name that is not UTF-8"] == counts["neither picture nor video (.txt)"] == 1
        return
    named = said.err.strip().splitlines()
    assert code == 1 and all(line.startswith("left out: in/") for line in named)
    for name in (*STRANGE, *NO_FILES):
        assert (
            len(
                [
                    line
                    for line in named
                    if line.startswith((f"left out: in/{name} ", f"left out: in/{name}:"))
                ]
            )
            == 1
        )
    assert len(named) == len(STRANGE) + len(NO_FILES) and "(.txt)" in said.out
    written = [path for path in (tmp_path / "out").rglob("*.png") if "mask" not in path.name]
    assert len(written) == 1 and all(cv2.imread(str(path)) is not None for path in written)
    assert ("1 overlays" if command == "detect" else "1 occluded copies of 1 pictures") in said.out


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_picture_alone_is_refused_in_one_line(
    fau_mae: Run, capsys, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(STRANGE[name][0])
    assert fau_mae("occlude", name, "--out", "out") == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("fau-mae: ")]
    assert len(lines) == 1 and name in lines[0] and STRANGE[name][1] in lines[0] and "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["p.png", "dir.jpg", "gone.webp", "notes.txt"])
@pytest.mark.parametrize("command", ["detect", "occlude"])
def test_what_is_no_picture_file_is_refused_alone(
    fau_mae: Run, capsys, tmp_path: Path, teacher: Path, name: str, command: str
) -> None:
    os.mkfifo(tmp_path / "p.png")
    (tmp_path / "dir.jpg").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    more = ["--checkpoint", teacher] if command == "detect" else []
    assert fau_mae(command, name, "--out", "out", *more) == 2
    error = capsys.readouterr().err
    assert name in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def pixels(kind: str, mode: str = "RGB", **options) -> tuple[bytes, np.ndarray]:
    """A file of this kind and mode, and the colours that it shows."""
    image = Image.fromarray(FACE).convert(mode)
    return coded(kind, image, **options), np.asarray(image.convert("RGB"))


def test_every_kind_of_picture_shows_its_colours(tmp_path: Path) -> None:
    grey16 = np.arange(64 * 1024, dtype=np.uint16).reshape(128, 512)  # upper bytes: 0-255
    high = np.repeat((grey16 >> 8).astype(np.uint8)[..., None], 3, 2)
    alpha = np.dstack([FACE, np.full(FACE.shape[:2], 9, np.uint8)])
    for name, (content, shows) in {
        "palette.png": pixels("PNG", "P"),
        "bits.png": pixels("PNG", "1"),
        "grey.tif": pixels("TIFF", "L"),
        "grey-alpha.png": pixels("PNG", "LA"),
        "cmyk.tiff": pixels("TIFF", "CMYK"),
        "lossless.webp": pixels("WEBP", lossless=True),
        "one.gif.png": pixels("GIF", "P"),
        "alpha.png": (coded("PNG", alpha), FACE),
        "deep.png": (coded("PNG", grey16), high),
        "deep.tif": (coded("TIFF", grey16), high),
    }.items():
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(read_picture(tmp_path / name), shows, name)


def test_healthy_jpegs_of_all_kinds_are_read_as_opencv_reads_them(tmp_path: Path) -> None:
    grey, phone = FACE[..., 0], [Image.fromarray(FACE[::4, ::4])]
    for content in (
        *(coded("JPEG", quality=quality) for quality in (2, 60, 100)),
        *(coded("JPEG", subsampling=step) for step in (0, 1, 2)),
        coded("JPEG", progressive=True, optimize=True),
        coded("JPEG", restart_marker_blocks=3),
        coded("JPEG", grey),
        coded("JPEG", FACE[:117, :203]),
        coded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff broken"),
        coded("JPEG", icc_profile=bytes(90_000), comment=b"c" * 900),
        coded("JPEG") + bytes(4000),
        coded("JPEG") + coded("JPEG", FACE[::4, ::4]),
        coded("MPO", save_all=True, append_images=phone),
    ):
        (tmp_path / "a.jpg").write_bytes(content)
        same = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg"), same)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_turned_as_their_exif_data_says(tmp_path: Path, kind: str) -> None:
    small = np.ascontiguousarray(FACE[:32, :48])
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        (tmp_path / "a.png").write_bytes(coded(kind, small, exif=exif, **options))
        want = small.transpose(1, 0, 2) if orientation > 4 else small
        want = want[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
        read = read_picture(tmp_path / "a.png")
        assert read.shape == want.shape and np.abs(read.astype(int) - want).mean() < 2, orientation


def test_a_turned_photo_is_one_face_to_every_command(fau_mae: Run, tmp_path: Path, teacher: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    for folder, content in {
        "plain": coded("PNG"),
        "turned": coded("PNG", np.ascontiguousarray(np.rot90(FACE)), exif=exif),
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(content)
        assert fau_mae("detect", folder, "--checkpoint", teacher, "--out", f"{folder}-d") == 0
        assert fau_mae("occlude", folder, "--kind", "block", "--severity", 0.2, "--out", f"{folder}-o") == 0
        line = ["--size", 64, "--workers", 1, "--out", f"{folder}-s"]
        assert fau_mae("prepare", "folder", "--root", folder, *line) == 0
    rows = [(tmp_path / f"{name}-d/aus.csv").read_text().split("a.png")[1] for name in ("plain", "turned")]
    assert rows[0] == rows[1] and ",0,1," in rows[0]
    for path in ("d/a.png", "o/block/0.2/a.png.png"):
        assert (tmp_path / f"plain-{path}").read_bytes() == (tmp_path / f"turned-{path}").read_bytes()
    one, other = (FaceStore(tmp_path / f"{name}-s") for name in ("plain", "turned"))
    np.testing.assert_array_equal(one.image(0), other.image(0))


def test_a_long_name_keeps_its_overlay_and_is_named_where_it_leaves_no_room(
    fau_mae: Run, capsys, tmp_path: Path, teacher: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("é" * 123 + ".png", "a.png"):
        (tmp_path / "in" / name).write_bytes(coded("PNG"))
    assert fau_mae("detect", "in", "--checkpoint", teacher, "--out", "d") == 0
    assert len(list((tmp_path / "d").glob("*.png"))) == 2
    assert fau_mae("occlude", "in", "--kind", "block", "--severity", 0.2, "--out", "o") == 1
    assert "too long a name" in capsys.readouterr().err


# Videos


def test_strange_videos_are_named(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", (numbered_frame(n) for n in range(1, 4)))
    write_video(tmp_path / "thin.mp4", (np.zeros((400, 8, 3), np.uint8) for _ in range(3)), "libx264")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile a.avi\n")
    (tmp_path / "stream.mkv").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'a.avi'}\n#EXT-X-ENDLIST\n")
    (tmp_path / "picture.mov").write_bytes(coded("JPEG"))
    os.mkfifo(tmp_path / "pipe.avi")
    for name in ("thin.mp4", "list.mp4", "stream.mkv", "picture.mov", "pipe.avi", "gone.avi"):
        with pytest.raises(UserError, match=name):
            list(Video(tmp_path / name))


@pytest.mark.parametrize("name", ["http:a.avi", "concat:a.avi", "file:a.avi", "data:,a.avi"])
def test_a_name_is_a_file_and_no_address(tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.avi", (numbered_frame(n) for n in range(1, 4)))
    (tmp_path / "a.avi").rename(tmp_path / name)
    assert [number for number, _ in Video(Path(name))] == [1, 2, 3]


def test_a_header_that_says_billions_of_frames_is_not_believed(fau_mae: Run, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_video(tmp_path / "raw/a.avi", (numbered_frame(n) for n in range(1, 9)))
    content = (tmp_path / "raw/a.avi").read_bytes()
    said = content.replace(struct.pack("<I", 8), struct.pack("<I", 2**31 - 5))
    assert said != content
    (tmp_path / "raw/a.avi").write_bytes(said)
    assert fau_mae("prepare", "folder", "--root", "raw", "--size", 64, "--workers", 1, "--out", "s") == 0
    assert FaceStore(tmp_path / "s").info.counts["frames"] == 8
