"""Pictures of a sweep: trained on × tested on, and its trials as lines across their parameters."""

import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib
import matplotlib.patches
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from fau_mae.evaluation.names import CLEAN_KIND, kind_key
from fau_mae.evaluation.scoring import with_shared_clean

_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "fau_mae",
}
_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # under words on lines
RANGE, KINDS = (
    "occlusion.severity_range",
    "occlusion.kinds",
)  # ends of the parameters that say what was trained on


def trained_on(table: pd.DataFrame) -> pd.DataFrame | None:
    """Macro-AUROC of what was trained on × what was tested on, from a sweep's `results.parquet`.

    Columns: `trained` (kinds and range of hidden shares, easiest first), `method`, `kind`, `severity`, `auroc`, the
    mean over trials that differ in nothing else. None where the trials do not differ in their range of shares.
    """
    ranges = [column for column in table if str(column).endswith(RANGE)]
    kinds = [column for column in table if str(column).endswith(KINDS)]
    if not ranges or table[ranges[0]].nunique() < 2:
        return None
    macro = with_shared_clean(table[table["au"] == "macro"])
    hides = [_hidden(row, ranges, kinds) for row in macro[[*ranges, *kinds]].to_dict("records")]
    macro = macro.assign(trained=[text for text, _ in hides], order=[order for _, order in hides])
    keys = ["order", "trained", "method", "kind", "severity"]
    return macro.groupby(keys, sort=True)["auroc"].mean().reset_index().drop(columns="order")


def _hidden(row: dict[str, Any], ranges: Sequence[str], kinds: Sequence[str]) -> tuple[str, str]:
    """What a trial was trained on, in words; and by what it is sorted."""
    low, high = json.loads(row[ranges[0]])
    names = ", ".join(json.loads(row[kinds[0]])) if kinds and isinstance(row[kinds[0]], str) else ""
    return f"{names} {low:.0%} to {high:.0%}".strip(), f"{names} {low:09.6f} {high:09.6f}"


def heat_map(cells: pd.DataFrame) -> Figure:
    """A map per tested kind: what was trained on downwards, the share hidden in the test across; the best outlined."""
    kinds = sorted(set(cells["kind"]) - {CLEAN_KIND}, key=kind_key)
    rows = list(dict.fromkeys(cells["trained"]))
    shared = Normalize(cells["auroc"].min(), cells["auroc"].max())
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2.4 + 3.2 * len(kinds), 1.3 + 0.32 * len(rows)), layout="constrained")
        axes = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
        for axis, kind in zip(axes, kinds):
            own = cells[cells["kind"] == kind].pivot_table(
                index="trained", columns="severity", values="auroc"
            )
            _map(axis, own.reindex(rows), shared)
            axis.set_title(f"tested on {kind}")
            axis.set_xlabel("share of the face hidden")
        axes[0].set_ylabel("trained on")
    return figure


def _map(axis: Axes, values: pd.DataFrame, shared: Normalize) -> None:
    grid = values.to_numpy()
    axis.imshow(grid, cmap="viridis", norm=shared, aspect="auto")
    axis.set_xticks(range(len(values.columns)), [f"{share:.0%}" for share in values.columns])
    axis.set_yticks(range(len(values.index)), list(values.index))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    best = np.nanargmax(np.where(np.isnan(grid), -1, grid), 0)
    for (row, column), value in np.ndenumerate(grid):
        if np.isnan(value):
            continue
        weight = "bold" if best[column] == row else "normal"
        ink = "black" if shared(value) > 0.6 else "white"
        axis.text(
            column, row, f"{value:.3f}", ha="center", va="center", color=ink, fontweight=weight, fontsize=8
        )
        if best[column] == row:
            axis.add_patch(
                matplotlib.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec="#d6336c", lw=2)
            )


def parallel_coordinates(
    summary: pd.DataFrame, parameters: Sequence[str], metric: str, maximize: bool
) -> Figure:
    """Every finished trial as a line across its parameters to its metric; the best in front.

    `summary`: one row per trial, best first. Numbers stand on a scale (of powers of ten where they span several),
    other values at even distances.
    """
    columns = [*parameters, metric]
    done = summary[summary[metric].notna()]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(1.8 * len(columns) + 1.5, 3.8), layout="constrained")
        axis = figure.subplots()
        heights = np.stack([_heights(axis, place, done[name]) for place, name in enumerate(columns)], 1)
        shade = heights[:, -1] if maximize else 1 - heights[:, -1]
        for line, share in reversed(list(zip(heights, shade))):
            axis.plot(
                range(len(columns)), line, color=matplotlib.colormaps["viridis"](share), lw=1.2, alpha=0.8
            )
        axis.plot(range(len(columns)), heights[0], color="#d6336c", lw=2.5)
        axis.set_xticks(range(len(columns)), [name.removeprefix("model.init_args.") for name in columns])
        axis.set_yticks([])
        axis.set_xlim(-0.4, len(columns) - 0.4)
        axis.spines[:].set_visible(False)
        for place in range(len(columns)):
            axis.axvline(place, color="#adb5bd", lw=0.8, zorder=0)
    return figure


def _heights(axis: Axes, place: int, values: pd.Series) -> np.ndarray:
    """Where each value stands on an axis from 0 to 1; writes the ends, or every value where they are few."""
    numbers = pd.to_numeric(values, errors="coerce")
    if (
        numbers.notna().all()
        and values.map(lambda v: not isinstance(v, bool)).all()
        and numbers.nunique() > 1
    ):
        spread = numbers.min() > 0 and numbers.max() / numbers.min() > 50
        scale = np.log(numbers) if spread else numbers
        low, high = scale.min(), scale.max()
        for at, value in ((0.0, numbers.min()), (1.0, numbers.max())):
            axis.text(place + 0.03, at, f"{value:.4g}", fontsize=8, va="center", zorder=5, bbox=_PLATE)
        return ((scale - low) / (high - low)).to_numpy()
    texts = values.astype(str)
    known = sorted(texts.unique())
    places = {
        text: 0.5 if len(known) == 1 else number / (len(known) - 1) for number, text in enumerate(known)
    }
    for text, at in places.items():
        axis.text(place + 0.03, at, text, fontsize=8, va="center", zorder=5, bbox=_PLATE)
    return texts.map(places).to_numpy(float)


def picture_of(figure: Figure, kind: str) -> bytes:
    """A figure as `png` or `svg`, the same bytes for the same figure."""
    drawn = BytesIO()
    told = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context(_STYLE):
        FigureCanvasAgg(figure).print_figure(drawn, format=kind, dpi=160, metadata=told)
    return drawn.getvalue()


def as_svg(figure: Figure) -> str:
    """For a page."""
    text = picture_of(figure, "svg").decode("utf-8")
    return text[text.index("<svg") :]
