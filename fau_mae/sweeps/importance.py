"""How much of the difference between trials each parameter explains alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

_GROUPS = 4  # of a parameter that takes many values


def importance(summary: pd.DataFrame, parameters: Sequence[str], metric: str) -> dict[str, float]:
    """Parameter -> share of the metric's variance between finished trials that its groups explain, 0 to 1.

    Groups are its values, or quarters of them where a number takes more than `_GROUPS`. Epsilon squared (Kelley, 1935):
    what chance would explain is taken off, so a parameter that does nothing is at 0. NaN where trials are too few: no
    more than groups. Interactions belong to none.
    """
    done = summary[summary[metric].notna()]
    return {name: _epsilon(done[metric].to_numpy(float), _groups(done[name])) for name in parameters}


def _groups(values: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and numbers.nunique() > _GROUPS:
        return pd.qcut(numbers, _GROUPS, labels=False, duplicates="drop").to_numpy()
    return pd.factorize(values.astype(str))[0]


def _epsilon(values: np.ndarray, groups: np.ndarray) -> float:
    count = len(np.unique(groups))
    if len(values) <= count or count < 2:
        return float("nan") if count > 1 else 0.0
    total = ((values - values.mean()) ** 2).sum()
    if total == 0:
        return 0.0
    within = sum(((values[groups == g] - values[groups == g].mean()) ** 2).sum() for g in np.unique(groups))
    by_chance = (count - 1) * within / (len(values) - count)
    return float(max(0.0, (total - within - by_chance) / total))
