"""Writing a store sequence by sequence: resumable after any interruption, and a finished one takes more sequences.

Beside the store, `STORE.preparing/parts/` holds the finished sequences of a run, one file each. The table is
in the order of the sequence names, so its bytes depend on the source and the options alone, not on how often
the work was interrupted, in how many runs the source grew, or how many processes did it.
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_modules.errors import UserError
from data_modules.store import FORMAT_VERSION, SCHEMA, FaceStore, StoreInfo, write_atomically

_ROWS_PER_BATCH = 64
_BYTES_PER_SHARD = 500_000_000
_Skipped = tuple[str, int, str]  # source, frame, reason


@dataclass(frozen=True)
class SequenceNote:
    """What is known of a finished sequence beside its rows."""

    sequence: str
    fingerprint: str  # of all that its rows depend on in the source; another one means: to be done again
    rows: int
    counts: dict[str, int]
    skipped: list[_Skipped]


class StoreWriter:
    """Writes the store `out`; `info` says what it holds and how it is made.

    Sequences that a finished store at `out` or an interrupted run already has are kept when they were made by
    the same recipe (all of `info` but folds and counts) from a source with the same fingerprint. Workers may
    call `write_part` from their own processes; one process calls `finish`. Raises `UserError` when `out` is
    a folder with something else in it.
    """

    def __init__(self, out: Path, info: StoreInfo):
        self.out, self.info = Path(out), info
        self.work = self.out.with_name(self.out.name + ".preparing")
        if not self.out.exists() and (self.work / "old").exists():  # killed between the renames of `finish`
            (self.work / "old").replace(self.out)
        shutil.rmtree(self.work / "old", ignore_errors=True)
        if self.out.exists() and any(self.out.iterdir()) and not (self.out / "store.json").exists():
            raise UserError(f"{self.out} exists and is not a store; choose another --out")
        self._begin()

    def _begin(self) -> None:
        """Open the working folder; forget parts that another recipe made."""
        (self.work / "parts").mkdir(parents=True, exist_ok=True)
        marker, recipe = self.work / "recipe.json", _recipe(self.info)
        if not marker.exists() or marker.read_text() != recipe:
            shutil.rmtree(self.work / "parts")
            (self.work / "parts").mkdir()
        write_atomically(marker, recipe)

    def stored(self) -> dict[str, SequenceNote]:
        """The sequences of the finished store at `out`, by name; none if another recipe made it."""
        if not (self.out / "sequences.json").exists():
            return {}
        meta = json.loads((self.out / "store.json").read_text())
        if meta.pop("format_version") != FORMAT_VERSION:
            return {}
        meta["aus"] = tuple(meta["aus"])
        if _recipe(StoreInfo(**meta)) != _recipe(self.info):
            return {}
        skipped = _read_skipped(self.out / "skipped.csv")
        notes = json.loads((self.out / "sequences.json").read_text())
        return {n["sequence"]: SequenceNote(**n, skipped=skipped.get(n["sequence"], [])) for n in notes}

    def part_path(self, sequence: str) -> Path:
        """Its name is a hash: a sequence's own may hold slashes or be too long for a file."""
        name = hashlib.blake2b(sequence.encode(), digest_size=16).hexdigest()
        return self.work / "parts" / f"{name}.arrow"

    def is_done(self, sequence: str, fingerprint: str = "") -> bool:
        """Whether an interrupted run left this sequence."""
        path = self.part_path(sequence)
        return path.exists() and _read_note(path).fingerprint == fingerprint

    def write_part(
        self,
        sequence: str,
        rows: Iterable[dict[str, Any]],
        counts: dict[str, int] | None = None,
        skipped: list[_Skipped] | None = None,
        fingerprint: str = "",
    ) -> None:
        """Write the rows of one sequence (a subject's task, an identity), all or nothing.

        `rows` may be a generator: few rows are in memory at a time. `counts` (what, how many) and `skipped`
        (source, frame, why) are read when the rows are exhausted, so a generator may fill them as it goes.
        """
        path = self.part_path(sequence)
        path.unlink(missing_ok=True)  # one of another fingerprint; its note is about to be replaced
        aside = path.with_suffix(f".{os.getpid()}.tmp")
        rows, count = iter(rows), 0
        with pa.OSFile(str(aside), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
            while chunk := list(islice(rows, _ROWS_PER_BATCH)):
                stream.write_batch(pa.RecordBatch.from_pylist(chunk, SCHEMA))
                count += len(chunk)
        note = SequenceNote(sequence, fingerprint, count, dict(counts or {}), skipped or [])
        write_atomically(path.with_suffix(".json"), json.dumps(asdict(note), sort_keys=True))
        aside.replace(path)

    def finish(self, sequences: Iterable[str]) -> FaceStore:
        """Merge these sequences, from parts or from the store that is there, and put the new store in place.

        Raises `UserError` when they have no row at all.
        """
        merged = self.work / "merged"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir()
        shards, notes = _ShardWriter(merged), []
        for note, batches in self._in_order(set(sequences)):
            notes.append(note)
            for batch in batches:
                shards.write(batch)
        names = shards.close()
        if not names:
            raise UserError(f"nothing to store: no usable face was found for {self.out}")
        _write_notes(merged, notes)
        counts = {**self.info.counts, **_total(notes)}
        info = asdict(StoreInfo(**{**asdict(self.info), "counts": counts}))
        (merged / "store.json").write_text(json.dumps({"format_version": FORMAT_VERSION, **info}, indent=1))
        _write_datasets_files(merged, names)
        if self.out.exists():
            self.out.replace(self.work / "old")
        merged.replace(self.out)
        self.discard()
        return FaceStore(self.out)

    def discard(self) -> None:
        """Remove the working folder."""
        shutil.rmtree(self.work)

    def abandon(self) -> None:
        """Remove the working folder unless an interrupted run left something in it."""
        if not any((self.work / "parts").iterdir()):
            self.discard()

    def _in_order(self, wanted: set[str]) -> Iterator[tuple[SequenceNote, Iterator[pa.RecordBatch]]]:
        """The wanted sequences by name; a part, where there is one, is newer than what the store has."""
        stored = self.stored()
        table = _stored_batches(self.out)  # in the order of the names, too
        for sequence in sorted(wanted | set(stored)):
            old = list(_take(table, stored[sequence].rows)) if sequence in stored else []
            path = self.part_path(sequence)
            if sequence not in wanted:
                continue
            if path.exists():
                yield _read_note(path), _batches(path)
            else:
                yield stored[sequence], iter(old)


def _recipe(info: StoreInfo) -> str:
    """What makes the rows of a sequence what they are: neither the folds nor what else there is."""
    values = {name: value for name, value in asdict(info).items() if name not in ("parts", "counts")}
    return json.dumps(values, sort_keys=True)


def _read_note(part: Path) -> SequenceNote:
    note = json.loads(part.with_suffix(".json").read_text())
    return SequenceNote(**{**note, "skipped": [tuple(entry) for entry in note["skipped"]]})


def _batches(*streams: Path) -> Iterator[pa.RecordBatch]:
    for path in streams:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            yield from stream


def _stored_batches(store: Path) -> Iterator[pa.RecordBatch]:
    return _batches(*sorted(store.glob("data-*.arrow")))


def _take(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The next batches that hold `rows` rows together: no batch holds rows of two sequences."""
    while rows > 0:
        batch = next(batches)
        rows -= batch.num_rows
        yield batch


def _total(notes: list[SequenceNote]) -> dict[str, int]:
    counts = {"rows": 0}
    for note in notes:
        counts["rows"] += note.rows
        for key, number in note.counts.items():
            counts[key] = counts.get(key, 0) + number
    return counts


def _write_notes(folder: Path, notes: list[SequenceNote]) -> None:
    """`sequences.json`, and `skipped.csv` if any frame was."""
    entries = [{name: value for name, value in asdict(note).items() if name != "skipped"} for note in notes]
    (folder / "sequences.json").write_text(json.dumps(entries, indent=0, sort_keys=True))
    if not any(note.skipped for note in notes):
        return
    with (folder / "skipped.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sequence", "source", "frame", "reason"])
        writer.writerows([note.sequence, *entry] for note in notes for entry in note.skipped)


def _read_skipped(path: Path) -> dict[str, list[_Skipped]]:
    skipped: dict[str, list[_Skipped]] = {}
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                entry = (row["source"], int(row["frame"]), row["reason"])
                skipped.setdefault(row["sequence"], []).append(entry)
    return skipped


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
