"""What is in a store: the `--check` report, as text and as one self-contained HTML page with sample faces."""

import base64
import html
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_modules import files
from data_modules.facs import AUS, au_name
from data_modules.stores.store import FaceStore, encode_image

_SHEET_FACES, _SHEET_COLUMNS, _SHEET_SIDE = 48, 8, 112
_MOST_SIZES = 40  # lines of the report


@dataclass(frozen=True)
class StoreSummary:
    """Figures of a store. A = number of AUs; a row of `rates` per part, then one of all."""

    title: str
    facts: list[tuple[str, str]]
    aus: tuple[int, ...]
    part_names: list[str]
    rows: list[int]  # per part
    subjects: list[int]  # per part
    rates: np.ndarray  # (parts, A) share of present among known, NaN without any
    unknown: np.ndarray  # (A,) share of unknown labels
    skipped: list[tuple[str, int]]  # reason, frames
    not_stored: list[str]  # "sequence: reason, frames"
    odd_sizes: list[str]  # pictures of the source whose size differs from most: how many, where


def damage_lines(store: FaceStore) -> list[str]:
    """A line for each picture and video of the source that could not be read, or not to its end."""
    frames: dict[tuple[str, str], list[int]] = {}
    path = store.path / "skipped.csv"
    for row in files.read_rows(path) if path.exists() else ():
        frames.setdefault((row["source"], row["reason"]), []).append(int(row["frame"]))
    lines = []
    for (source, reason), lost in frames.items():
        if reason in ("picture cannot be read", "video cannot be read"):
            lines.append(f"{source}: {reason}")
        elif reason == "video breaks off":
            lines.append(f"{source} broke off before frame {min(lost)} of {max(lost)}")
        elif reason == "frame damaged":
            lines.append(f"{source} is damaged: {len(lost)} frames are lost, the first is {min(lost)}")
    return lines


def summarise(store: FaceStore) -> StoreSummary:
    """Count what `store` holds, per part where it has parts (part 1 is the test of the last fold)."""
    subjects, labels = store.column("subject"), store.column("labels")
    part_of = np.array([store.info.parts.get(subject, 0) for subject in subjects])
    groups = {f"part {part}": part_of == part for part in sorted(set(store.info.parts.values()))}
    groups["all"] = np.ones(len(store), bool)
    skipped, not_stored = _skipped(store.path)
    info = store.info
    facts = [
        (
            "pictures",
            f"{len(store):,} of {info.counts.get('frames', len(store)):,} frames, {info.size}×{info.size}",
        ),
        ("subjects", f"{len(set(subjects)):,}"),
        ("sequences", f"{len(set(zip(subjects, store.column('task')))):,}"),
        ("action units", ", ".join(map(au_name, info.aus)) or "none (unlabelled)"),
        ("encoding", info.encoding),
        *((key, str(value)) for key, value in info.options.items()),
        *((key, f"{value:,}") for key, value in info.counts.items() if key not in ("rows", "frames")),
    ]
    return StoreSummary(
        f"{info.dataset}: {store.path}",
        facts,
        info.aus,
        list(groups),
        [int(rows.sum()) for rows in groups.values()],
        [len(set(subjects[rows])) for rows in groups.values()],
        np.array([_rates(labels[rows]) for rows in groups.values()]).reshape(len(groups), len(info.aus)),
        (labels == -1).mean(0),
        skipped,
        not_stored,
        _odd_sizes(store.path),
    )


def summary_text(summary: StoreSummary) -> str:
    """The report for a terminal."""
    wide = max(len(key) for key, _ in summary.facts)
    lines = [summary.title, *(f"  {key:<{wide}}  {value}" for key, value in summary.facts), ""]
    lines.append(" " * 26 + "".join(f"{name:>9}" for name in summary.part_names) + "  unknown")
    lines.append(f"{'pictures':<26}" + "".join(f"{rows:>9,}" for rows in summary.rows))
    lines.append(f"{'subjects':<26}" + "".join(f"{count:>9,}" for count in summary.subjects))
    for column, au in enumerate(summary.aus):
        name = f"{au_name(au):<5} {AUS[au].name if au in AUS else ''}"
        rates = "".join(f"{_percent(rate):>9}" for rate in summary.rates[:, column])
        lines.append(f"{name:<26}{rates}{_percent(summary.unknown[column]):>9}")
    lines += ["", "not stored:" if summary.skipped else "every frame is stored"]
    lines += [f"  {number:>7,}  {reason}" for reason, number in summary.skipped]
    lines += ["", "odd sizes:" if summary.odd_sizes else "every picture of the source has the same size"]
    lines += [f"  {line}" for line in summary.odd_sizes]
    return "\n".join(lines)


def write_summary_page(store: FaceStore, summary: StoreSummary, path: Path, seed: int = 0) -> None:
    """The report as one HTML file, with a contact sheet of random faces drawn from `seed`."""
    head = "".join(f"<th>{html.escape(name)}" for name in ("", *summary.part_names, "unknown"))
    body = _table_row("pictures", [f"{rows:,}" for rows in summary.rows])
    body += _table_row("subjects", [f"{count:,}" for count in summary.subjects])
    for column, au in enumerate(summary.aus):
        name = f"{au_name(au)} {AUS[au].name if au in AUS else ''}"
        body += _table_row(
            name, [*map(_percent, summary.rates[:, column]), _percent(summary.unknown[column])]
        )
    facts = "".join(_table_row(key, [value]) for key, value in summary.facts)
    skipped = "".join(_table_row(reason, [f"{number:,}"]) for reason, number in summary.skipped)
    places = "".join(f"<li>{html.escape(line)}" for line in summary.not_stored)
    sizes = "".join(f"<li>{html.escape(line)}" for line in summary.odd_sizes)
    jpeg = base64.b64encode(encode_image(contact_sheet(store, seed), "jpeg90")).decode()
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>{html.escape(summary.title)}</title>
<style>body{{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;color:#222}}
table{{border-collapse:collapse}}td,th{{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}}
td:first-child,th:first-child{{text-align:left}}.facts td{{text-align:left}}img{{max-width:100%}}</style>
<h1>{html.escape(summary.title)}</h1><table class="facts">{facts}</table>
<h2>Share of pictures that show each AU</h2><table><tr>{head}{body}</table>
<h2>Frames not stored</h2><table>{skipped or "<tr><td>none"}</table><ul>{places}</ul>
<h2>Odd sizes</h2><ul>{sizes or "<li>none: every picture of the source has the same size"}</ul>
<h2>Random faces</h2><img alt="random faces of the store" src="data:image/jpeg;base64,{jpeg}"></html>"""
    files.write_text(path, page)


def contact_sheet(store: FaceStore, seed: int) -> np.ndarray:
    """Up to 48 random faces of the store in rows of 8, uint8 RGB."""
    count = min(_SHEET_FACES, len(store))
    chosen = np.sort(np.random.default_rng(seed).choice(len(store), count, replace=False))
    side, rows = _SHEET_SIDE, -(-count // _SHEET_COLUMNS)
    sheet = np.full((rows * side, _SHEET_COLUMNS * side, 3), 255, np.uint8)
    for place, index in enumerate(chosen):
        y, x = side * (place // _SHEET_COLUMNS), side * (place % _SHEET_COLUMNS)
        sheet[y : y + side, x : x + side] = cv2.resize(
            store.image(int(index)), (side, side), interpolation=cv2.INTER_AREA
        )
    return sheet


def _odd_sizes(folder: Path) -> list[str]:
    """Lines for the sizes other than the most common one of the source; empty when there are none."""
    path = folder / "sequences.json"
    notes = files.read_json(path) if path.exists() else []
    total: Counter[str] = Counter()
    for note in notes:
        total.update({size: count for size, (count, _) in note["sizes"].items()})
    if len(total) < 2:
        return []
    usual = total.most_common(1)[0][0]
    odd = [(n["sequence"], size, *seen) for n in notes for size, seen in n["sizes"].items() if size != usual]
    lines = [f"{sum(total.values()) - total[usual]:,} of {sum(total.values()):,} pictures are not {usual}"]
    for sequence, size, count, first in odd[:_MOST_SIZES]:
        lines.append(f"{sequence}: {count:,} of {size}, the first is frame {first}")
    return lines + [f"and {len(odd) - _MOST_SIZES:,} lines more"] * (len(odd) > _MOST_SIZES)


def _skipped(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    path = folder / "skipped.csv"
    if not path.exists():
        return [], []
    rows = [(row["reason"], row["sequence"], int(row["frame"])) for row in files.read_rows(path)]
    frames: dict[tuple[str, str], list[int]] = {}
    for reason, sequence, frame in rows:
        frames.setdefault((sequence, reason), []).append(frame)
    places = [
        f"{sequence}: {reason}, frames {_runs(numbers)}" for (sequence, reason), numbers in frames.items()
    ]
    return Counter(reason for reason, _, _ in rows).most_common(), places


def _runs(frames: list[int]) -> str:
    """`[1, 2, 3, 7]` -> `"1-3, 7"`."""
    runs: list[list[int]] = []
    for frame in sorted(frames):
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def _rates(labels: np.ndarray) -> np.ndarray:
    """(n, A) labels -> (A,) share of 1 among the known ones, NaN where none is."""
    known = (labels >= 0).sum(0)
    return np.divide((labels == 1).sum(0), known, out=np.full(labels.shape[1], np.nan), where=known > 0)


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f} %"


def _table_row(name: str, cells: list[str]) -> str:
    return f"<tr><td>{html.escape(name)}" + "".join(f"<td>{html.escape(cell)}" for cell in cells)
