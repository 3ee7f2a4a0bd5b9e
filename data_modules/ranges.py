"""Ranges: what a setting may be, declared beside it and checked by one helper.

    lr: Annotated[float, ABOVE_0] = 1e-3                  a field of a dataclass, `check_fields` in its __post_init__
    batch_size: Annotated[int, FROM_1] = 64               an argument, `check_arguments` first in its function

No range holds NaN or an infinity. tests/test_setting_ranges.py fails on a number that has no range.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from data_modules.errors import UserError


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`; `above` leaves `low` out, `below` leaves `high` out."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: Any) -> bool:
        """Whether `value` is a number of this range; a bool is none."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        low = value > self.low if self.above else value >= self.low
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        if self == FREE:
            return "any finite number"
        if math.isinf(self.high):
            return f"a number above {self.low:g}" if self.above else f"{self.low:g} or more"
        ends = [f"{end:.12g}" for end in (self.low, self.high)]
        left_out = " and ".join(end for end, out in zip(ends, (self.above, self.below)) if out)
        return f"a number in {'-'.join(ends)}" + (f", {left_out} left out" if left_out else "")


FREE = Range()
FROM_0, FROM_1 = Range(0), Range(1)
ABOVE_0 = Range(0, above=True)
SHARE = Range(0, 1)
BELOW_1 = Range(0, 1, below=True)  # a share that leaves something


def check_number(name: str, value: Any, allowed: Range) -> None:
    """Raise `UserError` unless `value`, or each value of a list, lies in `allowed`."""
    for number in value if isinstance(value, list | tuple) else (value,):
        if not allowed.holds(number):
            each = "each " if isinstance(value, list | tuple) else ""
            raise UserError(f"{name} is {value}: use {each}{allowed}")


def check_fields(config: Any, where: str) -> None:
    """Check all fields of a dataclass; `where` goes before their names. Raises `UserError`."""
    check_arguments(type(config), where, vars(config))


def check_arguments(declared: Any, where: str, values: Mapping[str, Any]) -> None:
    """Check `values` by the hints of a function's arguments or a class's fields: ranges, and words to choose from.

    Of a function that calls this first, `values` are its `locals()`. Raises `UserError`.
    """
    for name, hint in declared_hints(declared).items():
        if name not in values:
            continue
        if get_origin(hint) is Annotated:
            for allowed in hint.__metadata__:
                check_number(f"{where}.{name}", values[name], allowed)
        elif get_origin(hint) is Literal and values[name] not in get_args(hint):
            words = ", ".join(map(str, get_args(hint)))
            raise UserError(f"{where}.{name} is {values[name]!r}: use one of {words}")


@lru_cache
def declared_hints(declared: Any) -> dict[str, Any]:
    """Type hints with what is annotated, of a class's fields or a function's arguments."""
    return get_type_hints(declared, include_extras=True)
