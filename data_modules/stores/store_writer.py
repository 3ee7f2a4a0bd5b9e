"""Writing a store sequence by sequence: resumable after any interruption, and a finished one takes more sequences.

Beside the store, `STORE.preparing/parts/` holds the finished sequences of a run, one file each. The table is
in the order of the sequence names, so its bytes depend on the source and the options alone, not on how often
the work was interrupted, in how many runs the source grew, or how many processes did it.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_modules import files
from data_modules.errors import UserError, shown
from data_modules.stores.intact import checks_of
from data_modules.stores.shards import ShardWriter, read_batches, take_rows, write_datasets_files
from data_modules.stores.store import FORMAT_VERSION, SCHEMA, FaceStore, StoreInfo, read_info

_ROWS_PER_BATCH = 64
_Skipped = tuple[str, int, str]  # source, frame, reason


@dataclass
class Tally:
    """What became of the frames of one sequence: how many of each kind, and which were left out, and why."""

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[_Skipped] = field(default_factory=list)
    sizes: dict[str, list[int]] = field(default_factory=dict)  # "1040×1392" -> pictures, first frame

    def skip(self, source: str, frame: int, reason: str) -> None:
        self.counts[reason] += 1
        self.skipped.append((source, frame, reason))

    def see(self, width: int, height: int, frame: int) -> None:
        """Note the size of a picture of the source."""
        self.sizes.setdefault(f"{width}×{height}", [0, frame])[0] += 1


@dataclass(frozen=True)
class SequenceNote:
    """What is known of a finished sequence beside its rows; see `Tally`."""

    sequence: str
    fingerprint: str  # of all that its rows depend on in the source; another one means: to be done again
    rows: int
    counts: dict[str, int]
    skipped: list[_Skipped]
    sizes: dict[str, list[int]]


class StoreWriter:
    """Writes the store `out`; `info` says what it holds and how it is made.

    Sequences that a finished store at `out` or an interrupted run already has are kept when they were made by
    the same recipe (all of `info` but folds and counts) from a source with the same fingerprint. Workers may
    call `write_part` from their own processes; one process calls `finish`. Raises `UserError` when `out` is
    a folder with something else in it, or a store of another data set or recipe.
    """

    def __init__(self, out: Path, info: StoreInfo):
        self.out, self.info = Path(out), info
        files.check_folder(self.out)
        real = Path(os.path.realpath(self.out))
        if self.out.is_symlink():  # else the link would be replaced
            self.out = real
        if real in (Path.cwd(), *Path.cwd().parents):  # the whole folder is replaced at the end
            raise UserError(f"{self.out} is the folder this runs in: choose a new folder for the store")
        self.work = real.with_name(real.name + ".preparing")
        if self.work.exists() and not (self.work.is_dir() and _is_ours(self.work)):
            raise UserError(
                f"{shown(self.work)} is in the way and not ours: rename it, or choose another --out"
            )
        if not self.out.exists() and (self.work / "old").exists():  # killed between the renames of `finish`
            (self.work / "old").replace(self.out)
        shutil.rmtree(self.work / "old", ignore_errors=True)
        if self.out.exists() and any(self.out.iterdir()) and not (self.out / "store.json").exists():
            raise UserError(f"{self.out} exists and is not a store; choose another --out")
        self._refuse_another()
        self._begin()

    def _refuse_another(self) -> None:
        """A finished store of another data set or recipe is not replaced."""
        if not (self.out / "store.json").exists():
            return
        there = read_info(self.out)[0]
        before, now = json.loads(_recipe(there)), json.loads(_recipe(self.info))
        before, now = before.pop("options") | before, now.pop("options") | now
        other = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
        if other:
            said = ", ".join(f"{name} {before.get(name)}, not {now.get(name)}" for name in other[:3])
            raise UserError(
                f"{self.out} was prepared otherwise ({said}): choose another --out, or delete it first"
            )

    def _begin(self) -> None:
        """Open the working folder; forget parts that another recipe made."""
        (self.work / "parts").mkdir(parents=True, exist_ok=True)
        marker, recipe = self.work / "recipe.json", _recipe(self.info)
        if not marker.exists() or files.read_text(marker) != recipe:
            shutil.rmtree(self.work / "parts")
            (self.work / "parts").mkdir()
        files.write_text(marker, recipe)

    def stored(self) -> dict[str, SequenceNote]:
        """The sequences of the finished store at `out`, by name."""
        if not (self.out / "sequences.json").exists():
            return {}
        skipped = _read_skipped(self.out / "skipped.csv")
        notes = files.read_json(self.out / "sequences.json")
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
        tally: Tally | None = None,
        fingerprint: str = "",
    ) -> None:
        """Write the rows of one sequence (a subject's task, an identity), all or nothing.

        `rows` may be a generator: few rows are in memory at a time. `tally` is read when the rows are
        exhausted, so a generator may fill it as it goes.
        """
        tally = tally or Tally()
        path = self.part_path(sequence)
        path.unlink(missing_ok=True)  # one of another fingerprint; its note is about to be replaced
        rows, count = iter(rows), 0
        with files.aside(path) as part:
            with pa.OSFile(str(part), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
                while chunk := list(islice(rows, _ROWS_PER_BATCH)):
                    chunk = [{**row, "image": {"bytes": row["image"], "path": None}} for row in chunk]
                    stream.write_batch(pa.RecordBatch.from_pylist(chunk, SCHEMA))
                    count += len(chunk)
            note = SequenceNote(sequence, fingerprint, count, dict(tally.counts), tally.skipped, tally.sizes)
            files.write_json(path.with_suffix(".json"), asdict(note), indent=None, sort_keys=True)

    def finish(self, sequences: Iterable[str]) -> FaceStore:
        """Merge these sequences, from parts or from the store that is there, and put the new store in place.

        Raises `UserError` when they have no row at all.
        """
        merged = self.work / "merged"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir()
        shards, notes = ShardWriter(merged), []
        for note, batches in self._in_order(set(sequences)):
            notes.append(note)
            for batch in batches:
                shards.write(batch)
        names = shards.close()
        if not names:
            raise UserError(f"nothing to store in {self.out}: {_all_left_out(notes)}")
        _write_notes(merged, notes)
        counts = {**self.info.counts, **_total(notes)}
        info = asdict(StoreInfo(**{**asdict(self.info), "counts": counts}))
        checks = checks_of(merged, names)
        files.write_json(merged / "store.json", {"format_version": FORMAT_VERSION, **info, "checks": checks})
        write_datasets_files(merged, checks["shards"])
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
        table = read_batches(*sorted(self.out.glob("data-*.arrow")))  # in the order of the names, too
        for sequence in sorted(wanted | set(stored)):
            old = take_rows(table, stored[sequence].rows if sequence in stored else 0)
            path = self.part_path(sequence)
            if sequence in wanted and not path.exists():
                yield stored[sequence], old
                continue
            for _ in old:  # passed over: done again, or not wanted any more
                pass
            if sequence in wanted:
                yield _read_note(path), read_batches(path)


def _is_ours(work: Path) -> bool:
    """Whether a folder called `….preparing` is one that a run of this class left: nothing else is ever deleted."""
    known = {"recipe.json", "parts", "merged", "old"}
    return all(path.name in known or path.name.startswith(".recipe.json.") for path in work.iterdir())


def _recipe(info: StoreInfo) -> str:
    """What makes the rows of a sequence what they are: neither the folds nor what else there is."""
    values = {name: value for name, value in asdict(info).items() if name not in ("parts", "counts")}
    return json.dumps({"format_version": FORMAT_VERSION, **values}, sort_keys=True)


def _all_left_out(notes: list[SequenceNote]) -> str:
    """`"all 120 frames are left out: 118 picture missing, 2 no face found; first: a/1.png"`."""
    skipped = [entry for note in notes for entry in note.skipped]
    if not skipped:
        return "the source has no frame"
    reasons = Counter(reason for _, _, reason in skipped).most_common()
    said = ", ".join(f"{number} {reason}" for reason, number in reasons)
    return f"all {len(skipped)} frames are left out: {said}; first: {skipped[0][0]}"


def _read_note(part: Path) -> SequenceNote:
    note = files.read_json(part.with_suffix(".json"))
    return SequenceNote(**{**note, "skipped": [tuple(entry) for entry in note["skipped"]]})


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
    files.write_json(folder / "sequences.json", entries, indent=0, sort_keys=True)
    if not any(note.skipped for note in notes):
        return
    with files.table_writer(folder / "skipped.csv", ["sequence", "source", "frame", "reason"]) as write:
        for note in notes:
            for entry in note.skipped:
                write([note.sequence, *entry])


def _read_skipped(path: Path) -> dict[str, list[_Skipped]]:
    skipped: dict[str, list[_Skipped]] = {}
    for row in files.read_rows(path) if path.exists() else ():
        entry = (row["source"], int(row["frame"]), row["reason"])
        skipped.setdefault(row["sequence"], []).append(entry)
    return skipped
