"""Static pictures of the results, for README and papers; the report draws its own."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_modules import files
from fau_mae.evaluation.names import MASKS, METHODS, METRIC_TITLES, kind_key, method_key, method_look
from fau_mae.evaluation.scoring import with_shared_clean


def curve_figure(results: pd.DataFrame, out: Path) -> None:
    """Macro-AUROC and macro-F1 against the share of the face hidden: a column per kind, a line per method.

    Args:
        results: the long results table of one experiment; folds and seeds are averaged.
        out: picture to write; the suffix decides the format (.png, .svg, .pdf).
    """
    figure = draw_curves(results)
    with files.aside(out) as part:
        figure.savefig(part, dpi=160, format=out.suffix.removeprefix("."))


def draw_curves(results: pd.DataFrame) -> Figure:
    """The figure of `curve_figure`, not written yet."""
    macro = with_shared_clean(results[results["au"] == "macro"])
    kinds = sorted(macro["kind"].unique(), key=kind_key)
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(1.2 + 3.3 * len(kinds), 5.4), layout="constrained")
        axes = figure.subplots(2, len(kinds), squeeze=False, sharey="row", sharex=True)
        for column, kind in enumerate(kinds):
            rows = macro[macro["kind"] == kind]
            _draw(axes[0, column], rows, "auroc")
            _draw(axes[1, column], rows, "f1")
            axes[0, column].set_title(kind)
            axes[1, column].set_xlabel("share of the face hidden")
        axes[0, 0].set_ylabel(f"macro-{METRIC_TITLES['auroc']}")
        axes[1, 0].set_ylabel(f"macro-{METRIC_TITLES['f1']}")
        lines, labels = axes[1, 0].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside lower center", ncols=min(len(labels), 4), frameon=False)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, metric: str) -> None:
    means = rows.groupby(["method", "mask_source", "severity"])[[metric, "floor_f1"]].mean()
    others = tuple(sorted({m for m, *_ in means.index} - set(METHODS)))
    for method, mask in sorted({(m, s) for m, s, _ in means.index}, key=lambda pair: method_key(*pair)):
        line, look = means.loc[method, mask][metric], method_look(method, others)
        axes.plot(
            line.index,
            line,
            label=method if mask == "none" else f"{method} ({mask} mask)",
            color=look.colour,
            marker=look.marker,
            markersize=4,
            linestyle=MASKS[mask],
        )
    if metric == "f1":
        floor = means["floor_f1"].groupby("severity").mean()
        axes.plot(floor.index, floor, ":", color="#59636e", label="always positive")
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)
