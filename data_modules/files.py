"""The one door to the disk: text is UTF-8 in every locale, files appear whole or not at all, errors are one line.

Whoever writes asks here. A file or folder is written aside, beside its place under a hidden name that nobody else
has, and renamed when it is whole; whatever ends the work early removes it. One left by a kill is removed by the next
process that writes there: its lock died with its owner. Before long work, `check_file` and `check_folder` refuse an
output that would harm what is there.
"""

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from data_modules.errors import PART, UserError, explain, shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

try:
    import fcntl
except ImportError:  # not on Windows: what a kill leaves stays there
    fcntl = None  # type: ignore[assignment]

_MOST_VALUES = 20_000  # of a YAML file, aliases followed: more is a mistake, or meant to fill the memory
_MOST_LEVELS = 50
LONGEST_NAME = 255  # bytes, on every usual file system
_PART_NAME = re.compile(rf"\.(.*)\.\d+-[0-9a-f]{{8}}{re.escape(PART)}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t")  # how a cell begins that a spreadsheet computes
# The cure of a damaged file that can be made anew.
ANEW = "delete it, then run the command that made it again"


# Reading


def read_text(path: Path | Traversable) -> str:
    """The text of a UTF-8 file, line ends as they are, without a byte-order mark. `UserError` for other bytes."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{shown(path)} is not UTF-8 text (byte {error.start + 1}): save it as UTF-8 and try again"
        ) from None


@contextlib.contextmanager
def reading(path: Path, cure: str = ANEW) -> Iterator[None]:
    """Whatever a damaged or foreign file makes the block raise becomes one line that names it and the cure.

    For the reading of one file and the checks of what it holds, nothing else. Errors of the disk stay as they are.
    """
    if path.is_dir():
        raise UserError(f"{shown(path)} is a folder, where a file belongs: {cure}")
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # parsers raise what they like
        if isinstance(error, OSError) and error.errno:
            raise
        said = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(f"{shown(path)} is damaged ({said[:150] or type(error).__name__}): {cure}") from error


def check_columns(
    table: "pd.DataFrame | Mapping[str, np.ndarray]", texts: Iterable[str] = (), numbers: Iterable[str] = ()
) -> None:
    """Raises unless a table has rows, and these columns of these kinds: for a block of `reading`."""
    for name, kinds in [*((name, "OUT") for name in texts), *((name, "biuf") for name in numbers)]:
        if name not in table:
            raise KeyError(name)
        if not len(table[name]):
            raise ValueError("it has no rows")
        if table[name].dtype.kind not in kinds:
            raise ValueError(f"its column {name} does not hold {'numbers' if kinds == 'biuf' else 'texts'}")


def read_json(path: Path, cure: str = "restore it or make it anew") -> Any:
    """Raises `UserError` for a file that holds no JSON."""
    with reading(path, cure):
        return json.loads(read_text(path))


def read_yaml(path: Path, load: Callable[[str], Any] | None = None) -> Any:
    """Raises `UserError` for a file that holds no YAML, or more than any config does.

    `load`: another reading of its text than PyYAML's.
    """
    import yaml

    with reading(path, "name another file, or put a copy back"):
        try:
            values = (load or yaml.safe_load)(read_text(path))
        except (yaml.YAMLError, RecursionError) as error:
            raise UserError(f"{shown(path)} is not YAML: {' '.join(str(error).split())}") from None
    if not is_config(values):
        raise UserError(
            f"{shown(path)} holds more than {_MOST_VALUES} values, or {_MOST_LEVELS} levels: is it a config?"
        )
    return values


def is_config(values: Any) -> bool:
    """Whether there are as few values and levels as in any config, every alias counted where it stands."""
    todo, seen = [(values, 0)], 0
    while todo:
        value, level = todo.pop()
        seen += 1
        if seen > _MOST_VALUES or level > _MOST_LEVELS:
            return False
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        todo += [(one, level + 1) for one in inside]
    return True


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file that `table_writer` or `write_csv` wrote, by the names in its first line."""
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    return [{name: _as_before(cell) for name, cell in row.items()} for row in rows]


def read_parquet(path: Path, columns: list[str] | None = None) -> "pd.DataFrame":
    """A Parquet table that this project wrote. Raises `UserError` for a damaged one."""
    import pandas as pd

    with reading(path):
        return pd.read_parquet(path, columns=columns)


def read_columns(path: Path) -> "dict[str, np.ndarray]":
    """The columns of numbers of a Parquet table, a third as long as `read_parquet` takes. Raises as that does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = [f.name for f in schema if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)]
        table = file.read(columns=names, use_threads=False)
    return {name: table.column(name).to_numpy() for name in names}


def file_hash(path: Path) -> str:
    """BLAKE2b of a file's content, 16 bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


# Writing


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """The name of an empty file beside `path`; it becomes `path` when the block ends well, and is gone otherwise.

    Folders above `path` are made. A link is followed, so that it stays one. Raises `UserError` where `path` is no
    regular file, and for an error of the disk.
    """
    with _told(path):
        target = _target(path)
        _refuse_special(path, target)
        with _folders(target.parent), _part(target.parent, target.name, _create_file) as part:
            yield part
            part.replace(target)


@contextlib.contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, or within where that exists; what it then holds becomes the content of `path`.

    Files of `path` that are not written again stay. Nothing is changed unless the block ends well. Raises `UserError`
    as `aside`.
    """
    with _told(path):
        target = _target(path)
        if target.exists() and not target.is_dir():
            raise UserError(f"{shown(path)} is {_kind(target)}, not a folder: choose another name")
        parent = target if target.exists() else target.parent
        with _folders(parent), _part(parent, target.name, Path.mkdir) as part:
            yield part
            with contextlib.suppress(FileExistsError):
                if not target.exists():
                    part.rename(target)
                    return
            _move_into(part, target)


def _move_into(part: Path, target: Path) -> None:
    """Move what `part` holds into the folder `target`: all of it or, where something ends that early, nothing."""
    undo: list[Callable[[], object]] = []
    replaced = part / f".replaced{PART}"
    try:
        for number, file in enumerate(sorted(part.rglob("*"))):
            place = target / file.relative_to(part)
            if not file.is_dir():
                before, is_there = replaced / str(number), place.exists()
                undo.append(
                    partial(before.replace, place) if is_there else partial(place.unlink, missing_ok=True)
                )
                if is_there:
                    replaced.mkdir(exist_ok=True)
                    place.replace(before)
                file.replace(place)
            elif not place.exists():
                undo.append(partial(_remove, place))
                place.mkdir()
    except BaseException:
        for step in reversed(undo):
            with contextlib.suppress(OSError):
                step()
        raise


def write_bytes(path: Path, data: bytes) -> None:
    with aside(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """UTF-8, line ends as they are; what came from a file name that is no UTF-8 is written as `\\xff`."""
    data = text.encode("utf-8", "surrogateescape")
    write_bytes(path, data.decode("utf-8", "backslashreplace").encode("utf-8"))


def write_json(path: Path, value: Any, indent: int | None = 1, sort_keys: bool = False) -> None:
    write_text(path, json.dumps(value, indent=indent, sort_keys=sort_keys))


def write_arrays(path: Path, arrays: "Mapping[str, np.ndarray]") -> None:
    """An `.npz` file."""
    import numpy as np

    with aside(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its own keywords are not among them


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """A table without its index, safe to open in a spreadsheet."""
    table = table.rename(columns=safe_cell)
    for name in table:
        if table[name].dtype.kind not in "biufcmM":  # texts
            table[name] = table[name].map(safe_cell)
    write_text(path, table.to_csv(index=False))


def write_parquet(path: Path, table: "pd.DataFrame") -> None:
    with aside(path) as part:
        table.to_parquet(part, index=False)


@contextlib.contextmanager
def table_writer(path: Path, header: Sequence[str]) -> Iterator[Callable[[Iterable[object]], None]]:
    """A CSV file row by row, safe to open in a spreadsheet: a function that takes one row."""
    with aside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(map(safe_cell, header))
        yield lambda row: rows.writerow([safe_cell(cell) for cell in row])


def safe_cell(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: a text that looks like one gets an apostrophe before it."""
    if not isinstance(cell, str | Path):
        return cell
    text = shown(cell)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def _as_before(cell: str) -> str:
    return (
        cell[1:] if isinstance(cell, str) and cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
    )


def cut_name(name: str, longest: int) -> str:
    """A file name of at most `longest` bytes, cut at its end."""
    data = name.encode("utf-8", "surrogateescape")
    return name if len(data) <= longest else data[:longest].decode("utf-8", "ignore")


def open_log(path: Path) -> TextIO:
    """A text file that grows line by line, as the output of another program does: the one kind not written aside."""
    return path.open("a", encoding="utf-8")


def remove_folder(path: Path) -> None:
    """Remove a folder of ours and all in it, where there is one."""
    shutil.rmtree(path, ignore_errors=True)


def flush(file: BinaryIO) -> None:
    """Have what was written on the disk itself, so that not even a power cut takes it."""
    file.flush()
    os.fsync(file.fileno())


# Outputs, before any work


def check_file(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work, a file that cannot be written or would replace one of `inputs` or a file within one."""
    with _told(out):
        target = _target(out)
        _refuse_special(out, target)
        for given in inputs:
            if target.exists() and _within(target, Path(os.path.realpath(given))):
                raise UserError(
                    f"{shown(out)} would replace a file of the input {shown(given)}: name a new file"
                )
        _refuse_unwritable(target.parent)


def check_ours(out: Path, is_ours: Callable[[Path], bool]) -> None:
    """Refuse, before any work, to replace a file that something else made; an empty one holds nothing to lose."""
    with _told(out):
        if not out.is_file() or not out.stat().st_size:
            return
        try:
            ours = is_ours(out)
        except (ValueError, KeyError, TypeError, UserError):  # of another format
            ours = False
        if not ours:
            raise UserError(f"{shown(out)} is there already and not of this command: name a new file")


def check_folder(out: Path, inputs: Iterable[Path] = (), inside: bool = True) -> None:
    """Refuse, before any work, a folder that cannot be written, that is one of `inputs`, or that holds one.

    `inside`: whether it may lie within an input.
    """
    with _told(out):
        target = _target(out)
        if target.exists() and not target.is_dir():
            raise UserError(f"{shown(out)} is {_kind(target)}, not a folder: choose another name")
        for given in inputs:
            real = Path(os.path.realpath(given))
            if _within(real, target) or (not inside and _within(target, real)):
                word = "is" if real == target else "holds" if _within(real, target) else "lies within"
                raise UserError(f"{shown(out)} {word} the input {shown(given)}: choose another folder")
        _refuse_unwritable(target)


def _target(path: Path) -> Path:
    """Where a path leads, links followed; an `OSError` where they lead back to themselves."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, "", str(path))
    return target


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _refuse_unwritable(folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY) if hasattr(os, "statvfs") else False
        raise OSError(errno.EROFS if read_only else errno.EACCES, "", str(folder))


def _refuse_special(path: Path, target: Path) -> None:
    if target.exists() and not target.is_file():
        raise UserError(f"{shown(path)} is {_kind(target)}, not a file: choose another name")


def _kind(path: Path) -> str:
    mode = path.stat().st_mode
    kinds = {
        stat.S_ISDIR: "a folder",
        stat.S_ISREG: "a file",
        stat.S_ISFIFO: "a pipe",
        stat.S_ISSOCK: "a socket",
    }
    return next((word for is_kind, word in kinds.items() if is_kind(mode)), "a device")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the disk inside become a `UserError` that names `path`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or (line := explain(error, _final(path))) is None:
            raise
        raise line from error


def _final(path: Path) -> Path:
    """Where a file in a folder that is written aside will be: the place that a user knows."""
    words: list[str] = []
    for word in path.parts:
        match = _PART_NAME.fullmatch(word)
        if match is None or words[-1:] != [match[1]]:  # else it lies within the folder that it becomes
            words.append(match[1] if match else word)
    return Path(*words)


@contextlib.contextmanager
def _folders(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; the ones made are taken back after a failure unless something is in them."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()
        raise


@contextlib.contextmanager
def _part(folder: Path, name: str, create: Callable[[Path], object]) -> Iterator[Path]:
    """A new, locked, hidden file or folder for the output `name`; gone afterwards unless it was renamed."""
    stem = cut_name(name, LONGEST_NAME - 40)
    _remove_left_behind(folder)
    part = folder / f".{stem}.{os.getpid()}-{secrets.token_hex(4)}{PART}"
    lock = None
    try:
        create(part)
        lock = _lock(part)
        yield part
    finally:
        _remove(part)
        if lock is not None:
            os.close(lock)


@cache  # once a process is enough, and a folder may hold very many files
def _remove_left_behind(folder: Path) -> None:
    """Remove the parts in a folder whose owners died: those that can be locked."""
    for entry in os.scandir(folder):
        if _PART_NAME.fullmatch(entry.name) and (lock := _lock(Path(entry.path))) is not None:
            _remove(Path(entry.path))
            os.close(lock)


def _create_file(path: Path) -> None:
    path.open("xb").close()


def _lock(path: Path) -> int | None:
    """Lock a file or folder for as long as this process lives -> its descriptor; None where that cannot be had."""
    if fcntl is None:
        return None
    handle = None
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle is not None:
            os.close(handle)
        return None
    return handle


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
