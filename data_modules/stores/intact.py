"""Whether a store is whole: checks written with it, and made when it is opened and when it is asked for.

At opening: the bytes of each shard are counted, and all small columns (labels, people, frames, ids) are compared
with their digest, which costs a fraction of a second. `prepare --check` also reads every shard and compares all
bytes, pictures included. A store from before these checks is opened without the digests.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_modules.errors import UserError
from data_modules.files import file_hash

_SMALL = ("sample_id", "subject", "task", "frame", "labels", "intensity", "source", "source_hash")
AGAIN = "delete it and prepare it again"


def checks_of(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """What `store.json` keeps: bytes and digest of each shard, and the digest of the small columns."""
    shards = {
        name: {"bytes": (folder / name).stat().st_size, "blake2b": file_hash(folder / name)} for name in names
    }
    return {"shards": shards, "labels": label_digest(_batches(folder, names))}


def label_digest(batches: Iterable[pa.RecordBatch]) -> str:
    """BLAKE2b of the small columns, the same however the rows are cut into batches."""
    digests = {name: hashlib.blake2b(digest_size=16) for name in _SMALL}
    for batch in batches:
        for name, digest in digests.items():
            for part in _plain(batch.column(name)):
                digest.update(part)
    return hashlib.blake2b(b"".join(d.digest() for d in digests.values()), digest_size=16).hexdigest()


def check_sizes(folder: Path, checks: dict[str, Any]) -> None:
    """Raise `UserError` for a shard that is missing or has lost or won bytes."""
    for name, mark in checks.get("shards", {}).items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else -1
        if size != mark["bytes"]:
            fault = "is missing" if size < 0 else f"has {size:,} bytes instead of {mark['bytes']:,}"
            raise UserError(f"{folder / name} {fault}: the store is damaged; {AGAIN}")


def check_bytes(folder: Path, checks: dict[str, Any]) -> int:
    """Read every shard -> how many there are; 0 for a store from before digests. Raises `UserError`."""
    check_sizes(folder, checks)
    for name, mark in checks.get("shards", {}).items():
        if file_hash(folder / name) != mark["blake2b"]:
            raise UserError(f"{folder / name} is not as it was written: the store is damaged; {AGAIN}")
    return len(checks.get("shards", {}))


def check_table(table: pa.Table, schema: pa.Schema, aus: Sequence[int], folder: Path, checks: dict) -> None:
    """Raise `UserError`, or Arrow's own error, unless the table has the columns and the labels that were written."""
    table.validate(full=True)  # before anything follows an offset: a wrong one leads out of memory
    fault = ""
    if lacking := [name for name in schema.names if name not in table.column_names]:
        fault = f"has no column {lacking[0]}"
    elif strange := [f.name for f in schema if table.schema.field(f.name).type != f.type]:
        fault = f"has another type in column {strange[0]}"
    elif any(_widths(table, name) - {len(aus)} for name in ("labels", "intensity")):
        fault = f"has not the labels of the {len(aus)} action units that store.json names"
    elif not set(np.unique(_flat(table, "labels"))) <= {-1, 0, 1}:
        fault = "has labels other than 1, 0 and -1"
    elif "labels" in checks and label_digest(table.to_batches()) != checks["labels"]:
        fault = "has not the labels, people and frames that were written"
    if fault:
        raise UserError(f"{folder} {fault}: the store is damaged or not ours; {AGAIN}")


def _widths(table: pa.Table, name: str) -> set[int]:
    return {
        int(width)
        for chunk in table.column(name).chunks
        for width in np.unique(chunk.value_lengths().to_numpy(False))
    }


def _flat(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)


def _plain(column: pa.Array) -> list[bytes]:
    """A column of numbers, text or lists of numbers as bytes, without gaps and offsets of Arrow's own."""
    if pa.types.is_list(column.type):
        return [column.value_lengths().to_numpy(False).tobytes(), column.flatten().to_numpy(False).tobytes()]
    if pa.types.is_string(column.type):
        return ["\0".join([*map(str, column.to_pylist()), ""]).encode("utf-8", "surrogatepass")]
    return [column.to_numpy(False).tobytes()]


def _batches(folder: Path, names: Sequence[str]) -> Iterable[pa.RecordBatch]:
    for name in names:
        with pa.OSFile(str(folder / name), "rb") as file, pa.ipc.open_stream(file) as stream:
            yield from stream
