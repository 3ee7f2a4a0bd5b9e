"""Registry: what one room of the models offers by name, each with a dataclass of its own options."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from torch import nn

from data_modules.errors import UserError
from data_modules.ranges import check_fields


class Entry(NamedTuple):
    """One way of a room."""

    build: Callable[..., nn.Module]  # takes what the room hands out, and the options last
    options: type  # a dataclass whose fields all have defaults


class Registry(dict[str, Entry]):
    """Name -> `Entry`. A setting `option` chooses the entry, `option_options` is a mapping of what it may be told.

    A new entry is one file and one line in its room's `__init__`.
    """

    def __init__(self, option: str, **entries: Entry):
        super().__init__(entries)
        self.option = option

    def build(self, name: str, options: Mapping[str, Any], *context: Any) -> Any:
        """The module of that name. Raises `UserError` as `options` does."""
        return self._entry(name).build(*context, self.options(name, options))

    def options(self, name: str, given: Mapping[str, Any]) -> Any:
        """The entry's options. Raises `UserError` for an unknown name or option, or a value of another type or out of
        its range."""
        kind = self._entry(name).options
        known = {field.name: field for field in fields(kind)}
        where = f"net.{self.option}_options"
        for key, value in given.items():
            if key not in known:
                raise UserError(f"{where} of {name!r} {_instead(key, known)}")
            if not _fits(value, known[key].default):
                wanted = type(known[key].default).__name__
                raise UserError(f"{where}.{key} of {name!r} is {value!r}: it is a value of type {wanted}")
        options = kind(**given)
        check_fields(options, where)
        return options

    def _entry(self, name: str) -> Entry:
        if name not in self:
            raise UserError(f"net.{self.option} is {name!r}: use one of {', '.join(self)}")
        return self[name]


def _instead(key: str, known: Mapping[str, Any]) -> str:
    if not known:
        return f"has no option {key!r}: it takes none"
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
    return f"has no option {key!r}: did you mean {nearest!r}? It takes {', '.join(known)}"


def _fits(value: Any, default: Any) -> bool:
    """Whether `value` is of the type of `default`; a whole number is a float too, a bool is no number."""
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))
