"""Names: methods, masks, kinds of occlusion, stages and metrics; in which order and guise they stand wherever shown.

Terminal, Markdown, figures, W&B and the page (which gets `looks()` as data) all read it here.
"""

from typing import Any, NamedTuple

CLEAN_KIND = "none"


class Look(NamedTuple):
    """How a line is drawn: colours on light and on dark ground, and a marker by matplotlib's letter."""

    colour: str
    on_dark: str
    marker: str


METHODS = {
    "clean": Look("#6b7280", "#a3adb8", "o"),
    "reconstruct": Look("#b4540a", "#f0954a", "s"),
    "augmented": Look("#0b7a5c", "#45c79f", "^"),
    "augmented_distilled": Look("#4d7c0f", "#a3d65c", "<"),
    "dropped": Look("#8a4fae", "#c79be6", "D"),
    "self_trained": Look("#6b4226", "#d3a587", ">"),
    "student": Look("#0a66c2", "#66aef5", "v"),
    "specialist": Look("#b5306f", "#f283b2", "P"),
}
# What other methods take in turn: runs may compare more than these.
OTHERS = (
    Look("#7a6a00", "#d8c34a", "o"),
    Look("#2f3b52", "#dfe5ee", "s"),
    Look("#0e7490", "#56d4e8", "^"),
    Look("#b91c1c", "#ff8a80", "D"),
)
MASKS = {"none": "-", "oracle": "-", "blind": "--"}  # line styles
KINDS = (CLEAN_KIND, "patches", "block", "upper", "lower", "left", "right", "eyes", "mouth")
STAGES = (
    "pretrain",
    "teacher",
    "augmented",
    "augmented_distilled",
    "dropped",
    "self_trained",
    "student",
    "specialist",
)
METRIC_TITLES = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "ece": "Calibration error",
}
LOWER_IS_BETTER = ("ece",)


def method_key(method: str, mask_source: str = "none") -> tuple[int, str, int, str]:
    """Sort key: the methods from baseline to student, unknown names behind them by name."""
    return (*_place(method, tuple(METHODS)), *_place(mask_source, tuple(MASKS)))


def kind_key(kind: str) -> tuple[int, str]:
    """Sort key: grid kinds, edges, parts, then all others by name."""
    return _place(kind, KINDS)


def stage_key(stage: str) -> tuple[int, str]:
    """Sort key: in the order of training, then all others by name."""
    return _place(stage, STAGES)


def method_look(method: str, others: tuple[str, ...] = ()) -> Look:
    """The look of a method; of an unknown one by its place among `others`."""
    if method in METHODS:
        return METHODS[method]
    return OTHERS[others.index(method) % len(OTHERS) if method in others else 0]


def looks() -> dict[str, Any]:
    """This table as plain JSON values."""
    return {
        "methods": list(METHODS),
        "colours": [[look.colour, look.on_dark] for look in (*METHODS.values(), *OTHERS)],
        "markers": [look.marker for look in METHODS.values()],
        "masks": {mask: style == "--" for mask, style in MASKS.items()},
        "metrics": {
            name: {"name": title, "lower": name in LOWER_IS_BETTER} for name, title in METRIC_TITLES.items()
        },
    }


def _place(name: str, order: tuple[str, ...]) -> tuple[int, str]:
    return (order.index(name), "") if name in order else (len(order), name)
