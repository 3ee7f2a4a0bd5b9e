"""YAML configs made of smaller ones: a top-level `base` names the files that a config builds on.

`base: [_shared/stages/teacher.yaml, common.yaml]` loads these files first, from the first to the last, and lays the
config's own keys over them. A file is looked up beside the config, then among the shipped experiments. jsonargparse
checks the whole: types, unknown keys and what `--print_config` shows are those of one config. Settings on the
command line come last.
"""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from data_modules.errors import UserError
from data_modules.files import read_text

_plain_loader = get_loader("yaml")


def experiments_root() -> Path:
    """The shipped YAMLs: in the wheel inside the package, in a checkout at its top."""
    package = Path(__file__).parent.parent
    inside = package / "_experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def use_base_files() -> None:
    """Let every YAML that jsonargparse reads from now on name a `base`."""
    set_loader("yaml", _load, (yaml.YAMLError,))


def read_config(path: Path) -> dict[str, Any]:
    """A config file with its `base` files merged in. Raises `UserError` when one is missing or no mapping."""
    if not path.is_file():
        raise UserError(f"config {path} does not exist, though a `base` or an experiment names it")
    try:
        values = _plain_loader(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no settings: write `key: value` lines")
    return _with_base(values, path.parent)


def _load(text: str) -> Any:
    """What jsonargparse calls for a config file, from within its folder, and for single values."""
    values = _plain_loader(text)
    return _with_base(values, Path()) if isinstance(values, dict) and "base" in values else values


def _with_base(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`values` laid over its base files, whose paths are relative to `folder`."""
    base = values.pop("base", [])
    merged: dict[str, Any] = {}
    for name in [base] if isinstance(base, str) else base:
        beside = folder / name
        merged = merge(merged, read_config(beside if beside.exists() else experiments_root() / name))
    return merge(merged, values)


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping; lists and single values are replaced."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            value = merge(merged[key], value)
        merged[key] = value
    return merged
