"""Whether a ladder of occlusions can be walked, said before any work: its kinds, its severities, its fill.

`where`: what a message begins with, such as `ladder.` or `--`.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Any

from data_modules.errors import UserError
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.kinds import KINDS


def check_kinds(kinds: Any, where: str) -> None:
    """Raises `UserError` for what is no list of known occlusions, each once, that need nothing of the user's own."""
    if not isinstance(kinds, Sequence) or isinstance(kinds, str) or not kinds:
        raise UserError(f"{where}kinds is {kinds!r}: write a list of occlusions, such as [patches, block]")
    known = [name for name in KINDS if name != "none"]
    for kind in kinds:
        if kind not in known:
            nearest = difflib.get_close_matches(str(kind), known, n=1, cutoff=0.0)[0]
            raise UserError(f"{where}kinds: unknown occlusion {kind!r}: did you mean {nearest!r}?")
        if KINDS[kind].needs == "objects":
            raise UserError(
                f"{where}kinds: {kind!r} needs the user's own cut-outs; it is for `fau-mae occlude`"
            )
        if list(kinds).count(kind) > 1:
            raise UserError(f"{where}kinds: {kind} is given twice")


def check_severities(severities: Any, where: str) -> None:
    """Raises `UserError` for what is no list of hidden shares above 0, or would share a file's name."""
    if not isinstance(severities, Sequence) or isinstance(severities, str) or not severities:
        raise UserError(
            f"{where}severities is {severities!r}: write a list of hidden shares, such as [0.25, 0.5]"
        )
    files: dict[str, Any] = {}
    for severity in severities:
        if not is_share(severity) or severity <= 0:
            raise UserError(f"{where}severities: {severity!r} is no hidden share above 0, at most 1")
        file = f"{severity:.2f}"
        if file == "0.00" or file in files:
            other = f"{files[file]:g} and {severity:g}" if file in files else f"{severity:g}"
            raise UserError(
                f"{where}severities: {other} would be called {file}: use two digits at most, each once"
            )
        files[file] = severity


def check_fill(fill: Any, where: str) -> None:
    """Raises `UserError` for what is no fill."""
    if fill not in FILLS:
        raise UserError(f"{where}fill is {fill!r}: use one of {', '.join(FILLS)}")


def is_share(value: Any) -> bool:
    """Whether it is a number from 0 to 1."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1
