"""What the parameters of a sweep file may be: W&B's distributions, their draws, and their places between 0 and 1.

`read_distribution(entry)` checks W&B's own entry of one parameter. Every engine draws through `at`: the value below
which a given share of the draws lies; so random search, Optuna and a grid cannot disagree about what a range holds.

    constant      value
    categorical   values, and probabilities
    ranges        min and max (mu and sigma for normal ones) and distribution; q_…: multiples of q

Integers and multiples of a whole q are Python integers, as settings that are integers take no 3.0.
"""

import bisect
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from data_modules.errors import UserError

BOUNDED = ("uniform", "int_uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values")
NORMAL = ("normal", "q_normal")
_FINITE = ("values", "int_uniform", "q_uniform", "q_log_uniform_values")  # what a grid can hold
_MOST_GRID_VALUES = 10_000


@dataclass(frozen=True)
class Choices:
    """One of some values; `shares` add up to 1, by default alike."""

    choices: tuple[Any, ...]
    shares: tuple[float, ...]
    weighted: bool = False

    def at(self, share: float) -> Any:
        """The choice that holds this share of the draws, 0 <= share < 1."""
        place = bisect.bisect_right(list(itertools.accumulate(self.shares)), share)
        last = max(i for i, own in enumerate(self.shares) if own > 0)  # rounding leaves the sum below 1
        return self.choices[min(place, last)]

    def share(self, value: Any) -> float:
        """The middle of the shares of a value: `at(share(value)) == value`."""
        place = self.choices.index(value)
        return sum(self.shares[:place]) + self.shares[place] / 2

    def values(self) -> list[Any]:
        return list(self.choices)


@dataclass(frozen=True)
class Range:
    """Numbers by a distribution; `q` 0 = not quantised; `low`, `high` are of the draw before it is."""

    distribution: str
    low: float
    high: float
    mean: float = 0.0
    deviation: float = 1.0
    q: float = 0

    def at(self, share: float) -> float | int:
        share = min(max(share, 1e-9), 1 - 1e-9)
        if self.distribution in NORMAL:
            value = NormalDist(self.mean, self.deviation).inv_cdf(share)
        elif self._logarithmic:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        elif self.distribution == "int_uniform":
            return min(int(self.low) + math.floor(share * (self.high - self.low + 1)), int(self.high))
        else:
            value = self.low + share * (self.high - self.low)
        return self._quantised(value) if self.q else min(max(value, self.low), self.high)

    def share(self, value: float) -> float:
        if self.distribution in NORMAL:
            return NormalDist(self.mean, self.deviation).cdf(value)
        if self._logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        if self.distribution == "int_uniform":
            return (value - self.low + 0.5) / (self.high - self.low + 1)
        return (value - self.low) / (self.high - self.low)

    @property
    def count(self) -> int:
        """How many values a finite range holds."""
        if self.distribution == "int_uniform":
            return int(self.high) - int(self.low) + 1
        first, last = self._multiples
        return last - first + 1

    def values(self) -> list[float | int]:
        """All that a finite range holds, rising."""
        if self.distribution == "int_uniform":
            return list(range(int(self.low), int(self.high) + 1))
        first, last = self._multiples
        return [self._multiple(number) for number in range(first, last + 1)]

    @property
    def _logarithmic(self) -> bool:
        return "log" in self.distribution

    @property
    def _multiples(self) -> tuple[int, int]:
        """The first and last multiple of q within the bounds; a thousandth of q is taken for rounding."""
        return math.ceil(self.low / self.q - 1e-3), math.floor(self.high / self.q + 1e-3)

    def _quantised(self, value: float) -> float | int:
        number = round(value / self.q)
        if self.distribution not in NORMAL:
            first, last = self._multiples
            number = min(max(number, first), last)
        return self._multiple(number)

    def _multiple(self, number: int) -> float | int:
        if float(self.q).is_integer():
            return number * int(self.q)
        return float(f"{number * self.q:.12g}")  # 0.3, not 0.30000000000000004


Distribution = Choices | Range


def read_distribution(where: str, entry: Any, method: str) -> Distribution:
    """A parameter of a sweep file. Raises `UserError`, beginning with `where`, for what makes no sense or no grid."""
    if not isinstance(entry, dict) or "parameters" in entry:
        raise UserError(f"{where}: write one entry per setting, its name dotted, such as model.init_args.lr")
    known = {"value", "values", "probabilities", "distribution", "min", "max", "q", "mu", "sigma"}
    if unknown := sorted(str(key) for key in set(entry) - known):
        raise UserError(f"{where}: unknown key {unknown[0]!r}: use {', '.join(sorted(known))}")
    if "value" in entry or "values" in entry:
        return _read_choices(where, entry, method)
    named = name_of(entry)
    if named not in (*BOUNDED, *NORMAL):
        raise UserError(f"{where}: distribution {named!r} is none of {', '.join((*BOUNDED, *NORMAL))}")
    read = _read_normal if named in NORMAL else _read_bounded
    found = read(where, entry, named)
    if method == "grid":
        if named not in _FINITE:
            raise UserError(f"{where}: a grid needs `values`, `value` or one of {', '.join(_FINITE[1:])}")
        if found.count > _MOST_GRID_VALUES:
            raise UserError(f"{where}: {found.count} values are too many for a grid")
    return found


def name_of(entry: Mapping[str, Any]) -> str:
    """W&B's name of a range's distribution; by default uniform, over integers where both ends are."""
    whole = all(type(entry.get(key)) is int for key in ("min", "max"))
    return str(entry.get("distribution") or ("int_uniform" if whole else "uniform"))


def _read_choices(where: str, entry: Mapping[str, Any], method: str) -> Choices:
    kind = "value" if "value" in entry else "values"
    named = {"value": ("constant",), "values": ("categorical", "categorical_w_probabilities")}[kind]
    if extra := sorted(set(entry) - {kind, "distribution", "probabilities"}):
        raise UserError(f"{where}: has both {kind!r} and {extra[0]!r}: leave one of them out")
    if entry.get("distribution") not in (None, *named):
        raise UserError(f"{where}: {kind!r} goes with distribution {named[0]}, not {entry['distribution']!r}")
    choices = [entry["value"]] if kind == "value" else entry["values"]
    if not isinstance(choices, list) or not choices:
        raise UserError(f"{where}: `values` must be a list that holds something")
    shares = entry.get("probabilities")
    if shares is None:
        return Choices(tuple(choices), (1 / len(choices),) * len(choices))
    if method == "grid":
        raise UserError(f"{where}: a grid tries each value once: leave `probabilities` out, or use random")
    if not isinstance(shares, list) or len(shares) != len(choices) or not all(map(_is_number, shares)):
        raise UserError(f"{where}: `probabilities` needs one number per value, {len(choices)} in all")
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"{where}: `probabilities` must not be negative and add up to 1, not {sum(shares):g}")
    return Choices(tuple(choices), tuple(map(float, shares)), weighted=True)


def _read_bounded(where: str, entry: Mapping[str, Any], named: str) -> Range:
    low, high = (_number(where, entry, key) for key in ("min", "max"))
    if not low < high:
        raise UserError(f"{where}: min is not below max")
    if "log" in named and low <= 0:
        raise UserError(f"{where}: min must be above 0 for {named}")
    if named == "int_uniform" and not (float(low).is_integer() and float(high).is_integer()):
        raise UserError(f"{where}: min and max must be whole numbers for int_uniform")
    found = Range(named, low, high, q=_step(where, entry, named))
    if found.q and found.count < 1:
        raise UserError(f"{where}: no multiple of q = {found.q:g} lies between min and max")
    return found


def _read_normal(where: str, entry: Mapping[str, Any], named: str) -> Range:
    mean, deviation = _number(where, entry, "mu", 0.0), _number(where, entry, "sigma", 1.0)
    if deviation <= 0:
        raise UserError(f"{where}: sigma must be above 0")
    if {"min", "max"} & set(entry):
        raise UserError(f"{where}: {named} takes mu and sigma, not min and max")
    return Range(named, -math.inf, math.inf, mean, deviation, _step(where, entry, named))


def _step(where: str, entry: Mapping[str, Any], named: str) -> float:
    if not named.startswith("q_"):
        if "q" in entry:
            raise UserError(
                f"{where}: q goes with a distribution whose name begins with q_, not with {named}"
            )
        return 0
    step = _number(where, entry, "q", 1)
    if step <= 0:
        raise UserError(f"{where}: q must be above 0")
    return step


def _number(where: str, entry: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = entry.get(key, default)
    if isinstance(value, str):
        raise UserError(f"{where}: {key} is the text {value!r}: write a number, such as 1.0e-4")
    if not _is_number(value):
        raise UserError(f"{where}: needs numbers for min and max, or `values`; {key} is {value!r}")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
