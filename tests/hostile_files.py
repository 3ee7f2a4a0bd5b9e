"""Files that a stranger might give: each a function that makes one in a folder and returns how it is named.

`HOSTILE` holds all of them by what is wrong with them. Ending and content are those that a command asks for, so that
it opens what it is given: half of a picture is called `.png`, a table without rows `.csv`.
"""

import json
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from fixtures_datasets import numbered_frame, write_video
from PIL import Image

Make = Callable[[Path], Path]
HOSTILE: dict[str, Make] = {}


def _hostile(name: str) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        HOSTILE[name] = make
        return make

    return keep


def _file(name: str, called: str | bytes, data: bytes | str) -> None:
    """A file with this content; `called` may be bytes that are no UTF-8."""

    def make(folder: Path) -> Path:
        path = folder / os.fsdecode(called)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    HOSTILE[name] = make


# Names and things that are no files

_file("250 letters", "x" * 246 + ".png", b"x")
_file("a name of two lines", "two\nlines.csv", b"a\n1\n")
_file("a name that is a formula", "=cmd|'calc'!A1.png", b"x")
_file("a name that is no UTF-8", b"\xff\xfe.png", b"x")
_file("a name with markup", "<b>&a.png", b"x")
_file("no ending", "plain", b"\x00\x01")
HOSTILE["a name too long"] = lambda folder: folder / ("x" * 300)
HOSTILE["nothing there"] = lambda folder: folder / "nothing" / "there.csv"
HOSTILE["a leading dash"] = lambda folder: Path("--dash.png")
HOSTILE["the null device"] = lambda folder: Path("/dev/null")
HOSTILE["the endless device"] = lambda folder: Path("/dev/zero")
HOSTILE["the full device"] = lambda folder: Path("/dev/full")


@_hostile("a pipe")
def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


@_hostile("a loop of links")
def loop(folder: Path) -> Path:
    (folder / "loop.csv").symlink_to("pool.csv")
    (folder / "pool.csv").symlink_to("loop.csv")
    return folder / "loop.csv"


@_hostile("a link to nothing")
def dangling(folder: Path) -> Path:
    (folder / "dangling.ckpt").symlink_to("nowhere")
    return folder / "dangling.ckpt"


@_hostile("an empty folder")
def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


@_hostile("a folder called as a file")
def folder_as_file(folder: Path) -> Path:
    (folder / "folder.png").mkdir()
    return folder / "folder.png"


THINGS = tuple(HOSTILE)  # what an output might be called, or be already

# Nothing, noise, and the wrong kind under every ending

for _ending in ("png", "jpg", "mp4", "csv", "parquet", "json", "yaml", "ckpt", "safetensors"):
    _file(f"empty .{_ending}", f"empty.{_ending}", b"")
    _file(f"noise .{_ending}", f"noise.{_ending}", np.random.default_rng(3).bytes(999))


# Pictures and videos


def _picture(
    name: str, called: str, picture: Image.Image, size: int | None = None, **options: object
) -> None:
    data = BytesIO()
    picture.save(data, **options)  # type: ignore[arg-type]
    _file(name, called, data.getvalue()[:size])


def _png(width: int, height: int) -> bytes:
    """A PNG that says it has these sides, and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


_face = Image.fromarray(numbered_frame(1))
_picture("half a PNG", "half.png", _face, 9_000, format="png")
_picture("half a JPEG", "half.jpg", _face, 3_000, format="jpeg")
_picture("a thin picture", "thin.png", Image.new("RGB", (4000, 1)), format="png")
_picture("a flat picture", "flat.png", Image.new("RGB", (1, 4000)), format="png")
_picture("16 bits a pixel", "deep.png", Image.fromarray(np.full((60, 60), 40_000, np.uint16)), format="png")
_picture("CMYK", "cmyk.jpg", Image.new("CMYK", (60, 60), (9, 99, 0, 0)), format="jpeg")
_picture("a palette with a hole", "palette.png", Image.new("P", (60, 60)), format="png", transparency=0)
_frames = [Image.new("RGB", (60, 60), colour) for colour in ("red", "blue")]
_picture("an animated GIF", "moves.gif", _frames[0], format="gif", save_all=True, append_images=_frames[1:])
_picture(
    "an animated WebP", "moves.webp", _frames[0], format="webp", save_all=True, append_images=_frames[1:]
)
_file("a decompression bomb", "bomb.png", _png(60_000, 60_000))
_file("a picture of no size", "nosize.png", _png(0, 60))
_file("text called .png", "text.png", "I am no picture\n")


def _video(name: str, called: str, keep: float) -> None:
    def make(folder: Path) -> Path:
        path = folder / called
        write_video(path, (numbered_frame(number) for number in range(6)))
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
        return path

    HOSTILE[name] = make


_video("a video cut off", "cut.avi", 0.5)
_video("a video's header", "header.mp4", 0.01)


# Tables


def _parquet(name: str, called: str, table: pd.DataFrame, size: int | None = None) -> None:
    data = BytesIO()
    table.to_parquet(data)
    _file(name, called, data.getvalue()[:size])


_good = pd.DataFrame({"sample_id": range(9), "AU12": np.linspace(0, 1, 9), "AU12_label": [0, 1, 0] * 3})
_file("a header alone", "header.csv", "file,AU12\n")
_file("only line ends", "lines.csv", "\n\n\n")
_file("doubled columns", "doubled.csv", "file,AU12,AU12\na.png,1,0\n")
_file("no number anywhere", "nan.csv", "sample_id,AU12,AU12_label\n1,nan,nan\n2,,\n")
_file("words for numbers", "words.csv", "sample_id,AU12,AU12_label\n1,high,yes\n2,low,no\n")
_file("endless numbers", "infinite.csv", "sample_id,AU12,AU12_label\n1,inf,1\n2,1e309,0\n")
_file("rows of different lengths", "ragged.csv", "file,AU12\na.png,1,2,3\nb.png\n")
_file("zero bytes in text", "zeros.csv", b"file,AU12\n\x00\x00,1\n")
_file("UTF-16", "utf16.csv", "file,AU12\na.png,1\n".encode("utf-16"))
_file("a field without an end", "quote.csv", 'file,AU12\n"a.png,1\n')
_file("names that leave the folder", "leave.csv", "file,AU12\n../../etc/passwd,1\n/dev/zero,0\n")
_file("an open AU", "columns.csv", "file,AU0,AU99999,AU-1\na.png,1,1,1\n")
_parquet("half a Parquet", "half.parquet", _good, 700)
_parquet("a Parquet of no rows", "rows.parquet", _good[:0])
_parquet("a Parquet of another shape", "shape.parquet", pd.DataFrame({"x": [[1], None], "y": [{"a": 1}] * 2}))
_parquet("a Parquet of text", "text.parquet", _good.astype(str))


# Settings


def _settings(name: str, called: str, text: str) -> None:
    """As a YAML file, and as what makes an experiment of a folder."""
    _file(name, f"{called}.yaml", text)

    def make(folder: Path) -> Path:
        path = folder / f"experiment {called}"
        path.mkdir()
        (path / "experiment.yaml").write_text(text)
        return path

    HOSTILE[f"an experiment of {name}"] = make


_settings("an alias bomb", "bomb", "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'])}]\n" for n in range(12)))  # fmt: skip
_settings("a Python tag", "tag", "!!python/object/apply:os.system ['touch hostile']\n")
_settings("base of itself", "itself", "base: itself.yaml\n")
_settings("a base that is a folder", "base", "base: [/, .., 7]\n")
_settings("deep YAML", "deep", "[" * 5000 + "]" * 5000)
_settings("a list for settings", "list", "- 1\n- 2\n")
_settings("doubled keys", "keys", "data: {fold: 1, fold: 2}\ndata: {fold: 3}\n")
_settings("keys that are no text", "numbers", "1: 2\nnull: 3\n? [a, b]\n: 4\n")
_settings("values of the wrong kind", "kinds", "data: 7\ntrainer: [1]\nmodel: {class_path: os.system}\n")
_settings("a tab in YAML", "tab", "data:\n\tfold: 1\n")
_file("deep JSON", "deep.json", "[" * 100_000)
_file("JSON of nothing", "null.json", "null")


# Weights


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hostile",)


def _safetensors(header: str, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header.encode()


_file("a pickle with code", "code.ckpt", pickle.dumps(_Code()))
_file("a pickle of a list", "list.ckpt", pickle.dumps([1, 2]))
_file("text called .ckpt", "text.ckpt", "weights\n")
_file("safetensors of nothing", "nothing.safetensors", _safetensors("{}"))
_file("safetensors too long", "long.safetensors", _safetensors("{}", 2**60))
_file("safetensors out of bounds", "bounds.safetensors", _safetensors(
    json.dumps({"a": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 324]}})))  # fmt: skip


@_hostile("an array called .ckpt")
def array(folder: Path) -> Path:
    with (folder / "array.ckpt").open("wb") as file:
        np.save(file, np.array([_Code()], dtype=object), allow_pickle=True)
    return folder / "array.ckpt"


@_hostile("a checkpoint with code")
def torch_code(folder: Path) -> Path:
    import torch

    torch.save({"state_dict": {}, "fau_mae": _Code()}, folder / "torch.ckpt")
    return folder / "torch.ckpt"


@_hostile("a checkpoint of nothing")
def torch_empty(folder: Path) -> Path:
    import torch

    torch.save({}, folder / "nothing.ckpt")
    return folder / "nothing.ckpt"


@_hostile("a checkpoint of text")
def torch_text(folder: Path) -> Path:
    import torch

    torch.save({"state_dict": {"a": "b"}, "fau_mae": {"kind": "au"}, "epoch": "x"}, folder / "words.ckpt")
    return folder / "words.ckpt"


# Folders full of them


@_hostile("a folder of them all")
def all_of_them(folder: Path) -> Path:
    full = folder / "all"
    full.mkdir()
    for make in HOSTILE.values():
        if make is not all_of_them:
            make(full)
    return full
