"""What the parsers of all subcommands share: how one is added, and what its help looks like.

A subcommand's file imports what it runs inside the function that runs it: help and wrong use load no torch.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

from data_modules.errors import UserError, shown

Commands = argparse._SubParsersAction


class HelpFormatter(argparse.HelpFormatter):
    """Help with each option's default at its end, unless there is none or the text says it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default, text = action.default, action.help or ""
        if (
            not action.option_strings
            or action.required
            or "(default:" in text
            or default is argparse.SUPPRESS
        ):
            return text
        if default is None or isinstance(default, bool) or default == []:
            return text
        return f"{text} (default: {self._shown(default)})"

    @staticmethod
    def _shown(default: Any) -> str:
        shown = (
            " ".join(map(str, default))
            if isinstance(default, Sequence | set) and default != str(default)
            else str(default)
        )
        return shown.replace("%", "%%")


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    about: str,
    locks: bool = True,
) -> argparse.ArgumentParser:
    """A subcommand's parser; `run` gets its options once they are read.

    `locks`: whether `--out` is held for it alone meanwhile; False where there is none or `run` sees to that itself.
    """
    parser = commands.add_parser(name, help=about, description=about, formatter_class=HelpFormatter)
    parser.set_defaults(command=run, locks=locks)
    return parser


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """An option's type: a whole number in this range."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{cut(text)} is no whole number from {least} to {most}")
        return number

    return read


def share(text: str) -> float:
    """An option's type: a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{cut(text)} is no number from 0 to 1")
    return number


def number(least: float = -math.inf, above: float = -math.inf) -> Callable[[str], float]:
    """An option's type: a finite number from `least` on, above `above`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value < math.inf and value > above):
            words = f"from {least:g} on" if above == -math.inf else f"above {above:g}"
            raise argparse.ArgumentTypeError(f"{cut(text)} is no number {words}")
        return value

    return read


def plain_text(text: str) -> str:
    """An option's type: one line that every file can hold and every page show."""
    if shown(text) != text:
        raise argparse.ArgumentTypeError(f"{cut(text)} is no line of text in UTF-8")
    return text


def plain_name(text: str) -> str:
    """An option's type: as `plain_text`, and not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{cut(text)} is no name")
    return plain_text(text)


def cut(text: str) -> str:
    """What was typed, in quotes, in one line of usual length."""
    return repr(shown(text if len(text) <= 60 else f"{text[:60]}…"))


def numbers(option: str) -> Callable[[str], list[int]]:
    """An option's type: `1,2,3` as whole numbers. Raises `UserError` for anything else."""

    def read(text: str) -> list[int]:
        try:
            return [int(word) for word in text.split(",")]
        except ValueError:
            raise UserError(
                f"{option} {cut(text)}: write whole numbers with commas between them, such as 1,2,3"
            ) from None

    return read
