"""The tables of one experiment in Markdown: figures with intervals, paired differences, ablations."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from fau_mae.evaluation.comparison import difference_table
from fau_mae.evaluation.curves import Curves, Interval, MethodKey, interval
from fau_mae.evaluation.names import CLEAN_KIND, METRIC_TITLES, kind_key, method_key

STUDENT, BLIND_STUDENT = MethodKey("student", "oracle"), MethodKey("student", "blind")
REFERENCE = MethodKey("reference", "oracle")
SPECIALIST = "specialist"  # a model per severity
TITLES = {metric: METRIC_TITLES[metric] for metric in ("auroc", "f1")}
MISSING = "—"

Floor = Mapping[tuple[str, float], float]
Gaps = Mapping[tuple[str, float | None, str], Interval]


def comparison_tables(curves: Curves, floor: Floor, leave_out: Collection[str]) -> str:
    """Figures of the methods and what sets them apart, each table under a heading of the third level.

    Args:
        floor: macro-F1 of always answering "present", by kind and severity.
        leave_out: methods that have no place here, such as ablations.
    """
    kinds = sorted(curves.kinds, key=kind_key)
    compared = [key for key in _ordered(curves) if key.method not in leave_out]
    parts = []
    for metric, title in TITLES.items():
        parts.append(f"### Macro-{title}")
        for kind in kinds:
            rows = [_figures(curves, own, kind, metric) for own in compared]
            if metric == "f1":
                rows.append(_floor_row(curves, floor, kind))
            parts.append(table([f"`{kind}`", "mask", "clean", *_shares(curves.ladder(kind)), "mean"], rows))
    if STUDENT in compared:
        if pairs := _pairs(compared):
            parts += ["### Differences, mean over severities", _differences(curves, pairs, kinds)]
        for rival in (key for key in compared if key.method == SPECIALIST):
            title = f"### {_name(STUDENT)} − {_name(rival)}, a model per severity"
            parts += [title, _by_severity(curves, STUDENT, rival, kinds)]
    return "\n\n".join(parts)


def ablation_table(curves: Curves, ablations: Collection[str]) -> str:
    """Each ablation: means over severities, and differences to the student they change.

    That is the ablation `reference`, a student in as many steps as the others, or else the method `student`.
    """
    columns = [(kind, metric) for kind in sorted(curves.kinds, key=kind_key) for metric in TITLES]
    base = REFERENCE if REFERENCE in curves.methods else STUDENT
    told = [base] if base in curves.methods else []
    rows = []
    for own in [*told, *(key for key in _ordered(curves) if key.method in ablations and key != base)]:
        gaps = _gaps(curves, own, base) if told and own != base else {}
        cells = [(_mean(curves, own, *column), _gap(gaps, column[0], None, column[1])) for column in columns]
        rows.append([*_cells(own), *(text for pair in cells for text in pair)])
    heads = [(f"`{kind}` {TITLES[metric]}", f"− {escaped(base.method)}") for kind, metric in columns]
    return table(["method", "mask", *(text for pair in heads for text in pair)], rows)


def _ordered(curves: Curves) -> list[MethodKey]:
    return sorted(curves.methods, key=lambda key: method_key(*key))


def _pairs(methods: Sequence[MethodKey]) -> list[tuple[MethodKey, MethodKey]]:
    """(the student, each rival that is not blind), and the student blind against itself told the mask."""
    apart = (STUDENT.method, SPECIALIST)
    rivals = [key for key in methods if key.method not in apart and key.mask_source != "blind"]
    blind = [(BLIND_STUDENT, STUDENT)] if BLIND_STUDENT in methods else []
    return [(STUDENT, rival) for rival in rivals] + blind


def _figures(curves: Curves, own: MethodKey, kind: str, metric: str) -> list[str]:
    ladder = curves.ladder(kind)
    cells = [(CLEAN_KIND, 0.0), *((kind, severity) for severity in ladder)]
    found = [
        _estimate(interval(curves.at(own, *cell, metric))) if curves.has(own, *cell) else MISSING
        for cell in cells
    ]
    return [*_cells(own), *found, _mean(curves, own, kind, metric)]


def _mean(curves: Curves, own: MethodKey, kind: str, metric: str) -> str:
    if not curves.covers(own, kind):
        return MISSING
    return _estimate(interval(curves.mean(own, kind, metric)))


def _floor_row(curves: Curves, floor: Floor, kind: str) -> list[str]:
    above = [floor[kind, severity] for severity in curves.ladder(kind)]
    values = [floor.get((CLEAN_KIND, 0.0), np.nan), *above, float(np.mean(above))]
    return ["always positive", "none", *map(_number, values)]


def _differences(curves: Curves, pairs: Sequence[tuple[MethodKey, MethodKey]], kinds: Sequence[str]) -> str:
    rows = []
    for own, rival in pairs:
        gaps = _gaps(curves, own, rival)
        found = [_gap(gaps, kind, None, metric) for kind in kinds for metric in TITLES]
        rows.append([f"{_name(own)} − {_name(rival)}", *found])
    return table(["", *(f"`{kind}` {title}" for kind in kinds for title in TITLES.values())], rows)


def _by_severity(curves: Curves, own: MethodKey, rival: MethodKey, kinds: Sequence[str]) -> str:
    gaps = _gaps(curves, own, rival)
    ladder = sorted({severity for kind in kinds for severity in curves.ladder(kind)})
    rows = [
        [f"`{kind}`", title, *(_gap(gaps, kind, severity, metric) for severity in (*ladder, None))]
        for kind in kinds
        for metric, title in TITLES.items()
    ]
    return table(["", "", *_shares(ladder), "mean"], rows)


def _gaps(curves: Curves, own: MethodKey, rival: MethodKey) -> Gaps:
    """The cells of `difference_table`; severity None: the mean, where both were tested at every severity."""
    gaps = {}
    for row in difference_table(curves, own, curves, rival).itertuples():
        whole = curves.covers(own, row.kind) and curves.covers(rival, row.kind)
        if whole or not np.isnan(row.severity):
            severity = None if np.isnan(row.severity) else row.severity
            gaps[row.kind, severity, row.metric] = Interval(row.value, row.low, row.high)
    return gaps


def _gap(gaps: Gaps, kind: str, severity: float | None, metric: str) -> str:
    found = gaps.get((kind, severity, metric))
    return _estimate(found, signed=True) if found else MISSING


def _cells(key: MethodKey) -> list[str]:
    return [escaped(word) for word in key]


def _name(key: MethodKey) -> str:
    name = escaped(key.method)
    return name if key.mask_source == "none" else f"{name} ({key.mask_source})"


def _shares(severities: Iterable[float]) -> list[str]:
    return [f"{severity:.2f}".removeprefix("0") for severity in severities]


def _estimate(found: Interval, signed: bool = False) -> str:
    """`.940 [.931, .949]`, the interval small; with a sign where it is a difference, bold where that excludes 0."""
    value = _number(found.value, signed)
    if np.isnan(found.low):
        return value
    value = f"**{value}**" if signed and found.excludes_zero else value
    return f"{value} <sub>[{_number(found.low, signed)}, {_number(found.high, signed)}]</sub>"


def _number(value: float, signed: bool = False) -> str:
    if np.isnan(value):
        return MISSING
    digits = f"{abs(value):.3f}"
    sign = "" if not signed or value == 0 else "−" if value < 0 else "+"  # −.000: just below 0
    return sign + digits.removeprefix("0")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    rule = [":--" if i == 0 else "--:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def escaped(text: str) -> str:
    """A name as Markdown shows it, whatever it is made of: no markup, no HTML, no end of a cell or line."""
    return re.sub(r"([\\`*<>|\[\]#~])|\b_|_\b", r"\\\g<0>", " ".join(text.split()))
