"""YAML configs made of smaller ones: a top-level `base` names the files that a config builds on.

`base: [_shared/experiment.yaml, own.yaml]` reads these files first, from the first to the last, and lays the file's own
keys over them. A file is looked up beside the one that names it, then among the shipped experiments.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import get_loader, set_loader

from data_modules.errors import UserError
from data_modules.files import is_config, read_yaml

_DEEPEST = 100  # mappings and lists within each other


class TooLarge(yaml.YAMLError):
    """A value that holds more than any config does, aliases followed."""


class Config(NamedTuple):
    """Merged settings, and the folders of the files they came from, the topmost file's first."""

    values: dict[str, Any]
    folders: tuple[Path, ...]


def experiments_root() -> Path:
    """The shipped YAMLs: in the wheel inside the package, in a checkout at its top."""
    package = Path(__file__).parent.parent
    inside = package / "_experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def read_value(text: str) -> Any:
    """One value as a config file would hold it: numbers as jsonargparse reads them, `1e-3` among them.

    Raises `yaml.YAMLError`, also for what the reader itself would stumble over, for what is nested so deep that it
    would crash, and for more values than any config holds, aliases followed.
    """
    value = _parse(text)
    if not is_config(value):
        raise TooLarge("more values, or levels, than any config holds")
    return value


def _parse(text: str) -> Any:
    if len(text) > _DEEPEST:
        depth = 0
        for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise yaml.YAMLError(f"more than {_DEEPEST} brackets within each other")
    try:
        return _load(text)
    except (TypeError, ValueError) as error:  # of `{~: ~}` and `!!int x`
        raise yaml.YAMLError(str(error)) from error


_load = get_loader("yaml")
set_loader("yaml", read_value, (yaml.YAMLError,))  # for options and what else jsonargparse reads, too


def read_config(path: Path) -> dict[str, Any]:
    """A config file with its `base` files merged in. Raises `UserError` when one is missing or no mapping."""
    return read_layers(path).values


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> Config:
    """As `read_config`, with the folders; `above` are the files that led here.

    Raises:
        UserError: a file is missing, no mapping, too large, or builds on itself.
    """
    path = path.resolve() if above else path
    if path.resolve() in (file.resolve() for file in above):
        loop = " -> ".join(file.name for file in (*above, path))
        raise UserError(f"{path}: its `base` leads back to itself: {loop}")
    values = _read(path)
    names = values.pop("base", [])
    merged = Config({}, ())
    folders: tuple[Path, ...] = (path.parent,)
    for name in [names] if isinstance(names, str) else names or []:
        below = read_layers(find_file(str(name), (path.parent,), path), (*above, path))
        merged = Config(merge(merged.values, below.values), ())
        folders += below.folders
    return Config(merge(merged.values, values), tuple(dict.fromkeys(folders)))


def find_file(name: str, folders: tuple[Path, ...], asked_by: Path) -> Path:
    """The file `name` in the first folder that has it, else among the shipped experiments. Raises `UserError`."""
    for folder in (*folders, experiments_root()):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{asked_by} names {name}, which is neither beside it nor among the shipped experiments")


def _read(path: Path) -> dict[str, Any]:
    values = read_yaml(path, _parse)
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no settings: write `key: value` lines")
    return values


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping; lists and single values are replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            value = merge(merged[key], value)
        merged[key] = value
    return merged


def nested(dotted: dict[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    values: dict[str, Any] = {}
    for key, value in dotted.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{before}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found
