"""The files of a store's table: Arrow streams of bounded size, read and written a few rows at a time."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_modules import files
from data_modules.stores.store import SCHEMA

_BYTES_PER_SHARD = 500_000_000


class ShardWriter:
    """Record batches -> data-00000.arrow, data-00001.arrow, ... of bounded size."""

    def __init__(self, folder: Path):
        self.folder, self.written = folder, 0
        self.names: list[str] = []
        self.stream: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        if self.stream is None or self.written > _BYTES_PER_SHARD:
            self._end()
            self.names.append(f"data-{len(self.names):05d}.arrow")
            self.stream, self.written = pa.ipc.new_stream(str(self.folder / self.names[-1]), SCHEMA), 0
        self.stream.write_batch(batch.replace_schema_metadata(None))
        self.written += batch.nbytes

    def _end(self) -> None:
        if self.stream is not None:
            self.stream.close()

    def close(self) -> list[str]:
        self._end()
        return self.names


def write_datasets_files(folder: Path, shards: Mapping[str, Mapping[str, Any]]) -> None:
    """The two files that `datasets.load_from_disk` looks for.

    `shards`: by name, each with its `blake2b` (see `intact.checks_of`); the fingerprint follows from these, so from the
    content.
    """
    from datasets import Features, Image

    digests = "".join(shard["blake2b"] for shard in shards.values())
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in shards],
        "_fingerprint": hashlib.blake2b(digests.encode(), digest_size=8).hexdigest(),
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    features = Features({**Features.from_arrow_schema(SCHEMA), "image": Image()})
    info = {"features": features.to_dict()}
    files.write_json(folder / "state.json", state, sort_keys=True)
    files.write_json(folder / "dataset_info.json", info, sort_keys=True)


def read_batches(*streams: Path) -> Iterator[pa.RecordBatch]:
    """The record batches of Arrow streams, one after the other; never mapped, so only one is in memory."""
    for path in streams:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as stream:
            yield from stream


def take_rows(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The next batches that hold `rows` rows together: no batch holds rows of two sequences."""
    while rows > 0:
        batch = next(batches)
        rows -= batch.num_rows
        yield batch
