"""Settings: every key of a stage's config with its type, and which of those given the parser does not take.

why_refused(["fit", "--data.fold=x"]) -> "data.fold is 'x': it takes a whole number"
"""

import dataclasses
import difflib
import inspect
import json
from argparse import ArgumentError
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import lightning as L
import yaml
from jsonargparse import ArgumentParser

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from fau_mae import tasks
from fau_mae.runs.config_files import TooLarge, flat, read_value
from fau_mae.runs.settings.complaints import words_of

OWN: dict[str, Any] = {
    "out": Path,
    "experiment": str,
    "run_name": str,
    "checkpoint_minutes": float,
    "seed_everything": int,
    "ckpt_path": str,
}
OWN |= {"weights_only": bool, "verbose": bool}
_MODEL = "model.class_path"
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
_WORDS |= {NoneType: "null", dict: "a mapping"}


def why_refused(arguments: Iterable[str]) -> str | None:
    """What is wrong with the first setting of a completed line that cannot be read; None where all can."""
    given = list(given_in(arguments))
    names = [value for key, value in given if key in ("model", _MODEL) and isinstance(value, str)]
    model = _class_of(names[-1]) if names else None
    if names and model is None:
        known = ", ".join(f"fau_mae.tasks.{name}" for name in tasks.__all__)
        return f"model: there is no class {names[-1]!r}: use one of {known}"
    leaves = {**OWN, **_options(L.Trainer, "trainer."), **_options(FaceDataModule, "data."), _MODEL: str}
    for one in [model] if model else [getattr(tasks, name) for name in tasks.__all__]:
        leaves |= _options(one, "model.init_args.")
    for key, value in given:
        if (said := _wrong(key, value, leaves)) is not None:
            return said
    missing = [key for key in ("data.store", "model") if not any(one.startswith(key) for one, _ in given)]
    if missing:
        return (
            f"{' and '.join(missing)} missing: name the stage's settings by --config, a YAML file or "
            "EXPERIMENT/STAGE such as quickstart/student"
        )
    return None


def check_sizes(arguments: Iterable[str]) -> None:
    """Raise `UserError` for a value that would fill the memory: the parser reads some without `read_value`."""
    for key, value in given_in(arguments):
        if not isinstance(value, str):
            continue
        try:
            read_value(value)
        except TooLarge as error:
            raise UserError(f"{key}: {error}") from error
        except yaml.YAMLError:
            continue  # a text


def given_in(arguments: Iterable[str]) -> Iterable[tuple[str, Any]]:
    """(dotted key, value) of the config's text and of the options, as they stand."""
    words = iter(list(arguments)[1:])
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("--"):
            continue
        key = key.removeprefix("--").removesuffix("+")
        if key == "config":
            yield from flat(json.loads(value)).items()
        elif not key.startswith("print_"):
            yield key, value if equals else next(words, "")


def _class_of(name: str) -> type | None:
    module, _, attribute = name.rpartition(".")
    if not module:
        return getattr(tasks, name, None)
    try:
        found = getattr(__import__(module, fromlist=[attribute]), attribute, None)
    except (ImportError, ValueError):
        return None
    return found if isinstance(found, type) else None


def _options(taker: type, before: str) -> dict[str, Any]:
    """Dotted keys of a class's arguments, those of dataclasses one by one -> their types."""
    found: dict[str, Any] = {}
    for name, hint in _arguments(taker).items():
        if dataclasses.is_dataclass(hint):
            found |= _options(hint, f"{before}{name}.")  # type: ignore[arg-type]
        else:
            found[f"{before}{name}"] = hint
    return found


def _arguments(taker: type) -> dict[str, Any]:
    """Arguments of a class, those that it hands on to the classes below it among them."""
    hints: dict[str, Any] = {}
    for one in taker.__mro__:
        if "__init__" not in vars(one):
            continue
        init = vars(one)["__init__"]
        given = inspect.signature(init).parameters
        hints = {name: hint for name, hint in get_type_hints(init).items() if name in given} | hints
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in given.values()):
            break
    return hints


def _wrong(key: str, value: Any, known: Mapping[str, Any]) -> str | None:
    """What is wrong with one setting; None for one that can be read, and for a group."""
    if key == "model" or any(one.startswith(f"{key}.") for one in known):
        return None
    if key in known:
        return _misread(key, value, known[key])
    above = next((one for one in known if key.startswith(f"{one}.")), None)
    if above is not None and not _is_plain(known[above]):
        return None
    last = key.rpartition(".")[2]
    same = [one for one in known if one.rpartition(".")[2] == last]
    nearest = difflib.get_close_matches(key, same or list(known), n=1, cutoff=0.0)[0]
    return f"unknown setting {key!r}: did you mean {nearest!r}? `fau-mae fit --help` lists them all"


def _misread(key: str, value: Any, hint: Any) -> str | None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        if isinstance(value, str):
            parser.parse_args([f"--value={value}"])
        else:
            parser.parse_object({"value": value})
    except (ArgumentError, TypeError, ValueError) as error:
        takes = _takes(hint)
        return f"{key} is {value!r}: " + (f"it takes {takes}" if takes else words_of(error))
    return None


def _takes(hint: Any) -> str | None:
    """What values of a type are called; None for one that has no word."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _takes(inner[0])
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (Union, UnionType):
        words = [word for one in inner if get_origin(one) is Literal for word in get_args(one)]
        each = [f"one of {', '.join(dict.fromkeys(map(str, words)))}"] if words else []
        each += [said for one in inner if get_origin(one) is not Literal and (said := _takes(one))]
        return " or ".join(dict.fromkeys(each))
    if origin is tuple and ... not in inner:
        return f"{len(inner)} values in brackets, each {_takes(inner[0])}"
    if origin in _WORDS:
        return _WORDS[origin]
    if origin is not None:
        return f"a list in brackets, each {_takes(inner[0])}" if inner and _takes(inner[0]) else "a list"
    return _WORDS.get(hint) or (f"the name of a {hint.__name__}" if isinstance(hint, type) else None)


def _is_plain(hint: Any) -> bool:
    """Whether a type holds no settings of its own below it."""
    if get_origin(hint) in (Annotated, Union, UnionType):
        return all(
            _is_plain(one)
            for one in get_args(hint)
            if one is not NoneType and isinstance(one, type | UnionType)
        )
    return hint in _WORDS and hint is not dict
