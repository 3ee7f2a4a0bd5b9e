"""FaceStore: prepared face crops with labels in one Arrow table that Hugging Face `datasets` opens as it is.

On disk: `store.json` (what it is and how it was made), `data-*.arrow`, and the two small files that let
`datasets.load_from_disk(STORE)` work. While `fau-mae prepare` runs, finished sequences wait in `parts/`, one
file each, so that an interrupted run goes on where it was; the order of the final table depends on the
sequence names alone. `skipped.csv` lists the frames of the source that are not in the table, and why.
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from data_modules.errors import UserError
from data_modules.remote import address_of, fetch_store

FORMAT_VERSION = 1
_ROWS_PER_BATCH = 64
_BYTES_PER_SHARD = 500_000_000

SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("image", pa.binary()),  # JPEG or PNG, RGB
        ("subject", pa.string()),
        ("task", pa.string()),
        ("frame", pa.int32()),  # 1-based or 0-based as in the source; never renumbered
        ("labels", pa.list_(pa.int8())),  # (A,) 1 present, 0 absent, -1 unknown
        ("intensity", pa.list_(pa.float32())),  # (A,) 0-5, NaN unknown
        (
            "landmarks",
            pa.list_(pa.float32()),
        ),  # x0, y0, x1, y1, ... in pixels of `image`; empty where unknown
        (
            "box",
            pa.list_(pa.float32()),
        ),  # x0, y0, x1, y1 of the face in the source picture; empty where unknown
        ("source", pa.string()),  # path relative to the source's root
        ("source_hash", pa.string()),  # of the source file's content; empty for rendered faces
    ]
)


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds and how it was made. `aus` names the columns of `labels`, in order."""

    dataset: str
    aus: tuple[int, ...]
    size: int  # pixels of a side
    encoding: str  # "jpeg95" or "png"
    parts: dict[str, int] = field(default_factory=dict)  # subject -> part 1..3 of the published folds, if any
    options: dict[str, Any] = field(default_factory=dict)  # of `prepare`: crop preset, seed, versions, ...
    counts: dict[str, int] = field(default_factory=dict)  # rows, and what was skipped and why


def sample_id(dataset: str, subject: str, task: str, frame: int) -> int:
    """A 63-bit number that names this frame on every machine; masks are keyed on it."""
    key = f"{dataset}/{subject}/{task}/{frame}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def encode_image(image: np.ndarray, encoding: str) -> bytes:
    """uint8 RGB (H, W, 3) -> file bytes; `encoding` is "png" or "jpeg<quality>"."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if encoding == "png":
        return cv2.imencode(".png", bgr)[1].tobytes()
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(encoding.removeprefix("jpeg"))])[
        1
    ].tobytes()


def decode_image(data: bytes | pa.Buffer) -> np.ndarray:
    """File bytes -> uint8 RGB (H, W, 3)."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("the store holds bytes that are no picture")
    return image


class StoreWriter:
    """Writes a store sequence by sequence; resumable, and byte-identical however often it was interrupted.

    Workers may call `write_part` from their own processes; one process calls `finish`.
    """

    def __init__(self, out: Path, info: StoreInfo):
        self.out, self.info = Path(out), info
        self.work = self.out.with_name(self.out.name + ".preparing")
        if self.out.exists() and any(self.out.iterdir()) and not (self.out / "store.json").exists():
            raise UserError(f"{self.out} exists and is not a store; choose another --out")
        self._begin()

    def _begin(self) -> None:
        """Open the working folder; forget parts that another set of options made."""
        plan = json.dumps(asdict(self.info), sort_keys=True)
        (self.work / "parts").mkdir(parents=True, exist_ok=True)
        marker = self.work / "plan.json"
        if not marker.exists() or marker.read_text() != plan:
            shutil.rmtree(self.work / "parts")
            (self.work / "parts").mkdir()
        write_atomically(marker, plan)

    def part_path(self, sequence: str) -> Path:
        return self.work / "parts" / f"{sequence.replace('/', '__')}.arrow"

    def is_done(self, sequence: str) -> bool:
        return self.part_path(sequence).exists()

    def write_part(
        self,
        sequence: str,
        rows: Iterable[dict[str, Any]],
        counts: dict[str, int] | None = None,
        skipped: list[tuple[str, int, str]] | None = None,
    ) -> None:
        """Write the rows of one sequence (a subject's task, an identity), all or nothing.

        `rows` may be a generator: few rows are in memory at a time. `counts` (what, how many) and `skipped`
        (source, frame, why) are read when the rows are exhausted, so a generator may fill them as it goes.
        """
        path = self.part_path(sequence)
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        rows = iter(rows)
        with pa.OSFile(str(aside), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
            while chunk := list(islice(rows, _ROWS_PER_BATCH)):
                stream.write_batch(pa.RecordBatch.from_pylist(chunk, SCHEMA))
        note = {"sequence": sequence, "counts": counts or {}, "skipped": skipped or []}
        write_atomically(path.with_suffix(".json"), json.dumps(note, sort_keys=True))
        aside.replace(path)

    def finish(self) -> "FaceStore":
        """Merge the parts in the order of their names, write the metadata, put the store in place."""
        merged = self.work / "merged"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir()
        counts: dict[str, int] = {"rows": 0}
        shards = _ShardWriter(merged)
        skipped: list[tuple[str, str, int, str]] = []
        for path in sorted((self.work / "parts").glob("*.arrow")):
            note = json.loads(path.with_suffix(".json").read_text())
            skipped += [(note["sequence"], *entry) for entry in note["skipped"]]
            for key, number in note["counts"].items():
                counts[key] = counts.get(key, 0) + number
            for batch in _batches(path):
                counts["rows"] += batch.num_rows
                shards.write(batch)
        names = shards.close()
        if skipped:
            _write_skipped(merged / "skipped.csv", skipped)
        if not counts["rows"]:
            raise UserError(f"nothing to store: no usable face was found for {self.out}")
        info = StoreInfo(**{**asdict(self.info), "counts": {**self.info.counts, **counts}})
        (merged / "store.json").write_text(
            json.dumps({"format_version": FORMAT_VERSION, **asdict(info)}, indent=1)
        )
        _write_datasets_files(merged, names)
        old = self.work / "old"
        if self.out.exists():
            self.out.replace(old)
        merged.replace(self.out)
        shutil.rmtree(self.work)
        return FaceStore(self.out)


def _batches(part: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(part)) as file, pa.ipc.open_stream(file) as stream:
        yield from stream


def _write_skipped(path: Path, skipped: list[tuple[str, str, int, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sequence", "source", "frame", "reason"])
        writer.writerows(skipped)


class _ShardWriter:
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


def _write_datasets_files(folder: Path, names: list[str]) -> None:
    """The two files that `datasets.load_from_disk` looks for; the fingerprint follows from the content."""
    from datasets import Features

    digest = hashlib.blake2b(digest_size=8)
    for name in names:
        with (folder / name).open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": digest.hexdigest(),
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    info = {"features": Features.from_arrow_schema(SCHEMA).to_dict()}
    (folder / "state.json").write_text(json.dumps(state, indent=1, sort_keys=True))
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=1, sort_keys=True))


class FaceStore:
    """A prepared store, memory-mapped; pictures are decoded when asked for.

    `path`: its folder, or an address that fsspec knows (`s3://…`), whose shards are fetched once.
    Raises `UserError` when it holds no store.
    """

    def __init__(self, path: Path | str):
        from datasets import load_from_disk

        address = address_of(path)
        self.path = Path(path) if address is None else fetch_store(address)
        if not (self.path / "store.json").exists():
            raise UserError(f"{self.path} is not a store: run `fau-mae prepare … --out {self.path}` first")
        meta = json.loads((self.path / "store.json").read_text())
        if (version := meta.pop("format_version")) != FORMAT_VERSION:
            raise UserError(
                f"{self.path} has store format {version}, this version reads {FORMAT_VERSION}: prepare again"
            )
        meta["aus"] = tuple(meta["aus"])
        self.info = StoreInfo(**meta)
        self.table = load_from_disk(str(self.path))
        self._images = self.table.data.column("image")
        self._landmarks = self.table.data.column("landmarks")
        self._columns: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.table)

    def column(self, name: str) -> np.ndarray:
        """A small column as one array: (rows,), or (rows, longest) for lists, shorter ones ending in NaN.

        Labels and intensity are (rows, A).
        """
        if name not in self._columns:
            values = self.table.data.column(name).combine_chunks()
            if pa.types.is_list(values.type):
                self._columns[name] = _rectangle(values)
            else:
                self._columns[name] = values.to_numpy(zero_copy_only=False)
        return self._columns[name]

    def image(self, index: int) -> np.ndarray:
        """Picture `index`, uint8 RGB (H, W, 3)."""
        return decode_image(self._images[int(index)].as_buffer())

    def landmarks(self, index: int) -> np.ndarray | None:
        """Landmarks of picture `index`, (points, 2) x, y in pixels of the stored picture; None if unknown."""
        values = self._landmarks[int(index)].values
        return values.to_numpy().reshape(-1, 2) if len(values) else None


def _rectangle(lists: pa.ListArray) -> np.ndarray:
    """Lists of numbers -> (rows, longest), NaN after the end of shorter ones."""
    flat, lengths = lists.flatten().to_numpy(zero_copy_only=False), lists.value_lengths().to_numpy()
    longest = int(lengths.max(initial=0))
    if (lengths == longest).all():
        return flat.reshape(len(lists), longest)
    table = np.full((len(lists), longest), np.nan, np.float32)
    table[np.arange(longest) < lengths[:, None]] = flat
    return table


def write_atomically(path: Path, text: str) -> None:
    """Write aside, then rename: a reader never sees half a file."""
    aside = path.with_name(path.name + ".tmp")
    aside.write_text(text)
    aside.replace(path)
