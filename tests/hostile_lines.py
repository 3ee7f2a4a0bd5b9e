"""The command line, read from its own parsers: every command, every option, and a good line to spoil one option of.

A new command fails the tests until it has a good line here; a new option is driven as soon as its parser has it.
"""

import argparse
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import lightning as L
from conftest import TINY

from data_modules.face_data import FaceDataModule
from fau_mae.cli import _parser
from fau_mae.commands import lightning
from fau_mae.runs.lightning_cli import StageCLI
from fau_mae.tasks.student import Student

OUTPUTS = {"--out", "--spec", "--preview", "folder", "--trainer.default_root_dir"}
STAGES = lightning.NAMES
FLAG = "flag"  # an option that takes no value
# Read as a text by their parsers, and meant as a file or folder.
_PATHS = {
    "experiment", "file", "--config", "--ckpt_path", "--data.store", "--model.init_args.init_from",
    "--model.init_args.teacher", "--trainer.default_root_dir",
}  # fmt: skip

# By command, its options, or the names of what takes none; `{…}` is something of the `Bench`.
GOOD: dict[str, dict[str, list[str]]] = {
    "prepare synthetic": {
        "--identities": ["1"], "--frames": ["1"], "--size": ["32"], "--workers": ["1"], "--out": ["new"],
    },
    "prepare bp4d": {
        "--root": ["{bp4d}"], "--size": ["48"], "--workers": ["1"], "--aus": ["6", "12"], "--out": ["new"],
    },
    "prepare disfa": {
        "--root": ["{disfa}"], "--size": ["48"], "--workers": ["1"], "--aus": ["6", "12"], "--out": ["new"],
    },
    "prepare folder": {
        "--root": ["{faces}"], "--size": ["48"], "--workers": ["1"], "--labels": ["{labels}"], "--out": ["new"],
    },
    "experiments": {},
    "experiments copy": {"experiment": ["quickstart"], "folder": ["new"]},
    "run": {
        "experiment": ["quickstart"], "--out": ["new"], "--store": ["{store}"], "--stage": ["pretrain"],
        "--folds": ["1"], "--seeds": ["0"], "--set": [word.removeprefix("--") for word in TINY],
    },
    "evaluate": {
        "--checkpoint": ["{checkpoint}"], "--data": ["{store}"], "--out": ["new"], "--kinds": ["patches"],
        "--severities": ["0.5"],
    },
    "sweep": {"file": ["sweep.yaml"], "--out": ["swept"]},
    "report": {"runs": ["{run}"], "--out": ["new.html"]},
    "results": {"runs": ["{run}"], "--out": ["new.md"]},
    "dashboard": {"runs": ["{run}"], "--spec": ["new.json"]},
    "detect": {"inputs": ["{faces}"], "--checkpoint": ["{checkpoint}"], "--out": ["new"]},
    "occlude": {
        "input": ["{faces}"], "--out": ["new"], "--kind": ["patches"], "--severity": ["0.5"], "--grid": ["4"],
    },
    "evaluate-predictions": {"table": ["{table}"], "--out": ["new"]},
    "save": {"source": ["{checkpoint}"], "--out": ["new.safetensors"]},
    "export": {"checkpoint": ["{checkpoint}"], "--out": ["new.onnx"]},
}  # fmt: skip
_STAGE = {
    "--config": ["quickstart/student"], "--out": ["new"], "--data.store": ["{store}"],
    "--model.init_args.init_from": ["{checkpoint}"], "--model.init_args.teacher": ["{checkpoint}"],
    **{word.partition("=")[0]: [word.partition("=")[2]] for word in [*TINY, "--trainer.max_steps=2"]},
}  # fmt: skip
GOOD |= {"fit": _STAGE} | dict.fromkeys(("validate", "test"), _STAGE | {"--ckpt_path": ["{student}"]})


class Spot(NamedTuple):
    """One option of one command. `takes`: "file", "output", "value" or `FLAG`; `many`: whether it takes several."""

    command: str
    option: str  # as it is written, or the name of what stands alone
    takes: str
    many: bool = False
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.command} {self.option}"

    def line(self, words: list[str] | None, fill: Callable[[str], str] = str) -> list[str]:
        """The good line of the command with other words here, None: as it is."""
        line = {option: list(map(fill, good)) for option, good in GOOD[self.command].items()}
        if words is not None:
            line[self.option] = words
        alone = [word for option, good in line.items() if not option.startswith("-") for word in good]
        said: list[str] = []
        for option, good in line.items():
            if option.startswith("-"):
                said += [f"{option}={good[0]}"] if len(good) == 1 else [option, *good]
        return [*self.command.split(), *alone, *said]


def commands(
    parser: argparse.ArgumentParser, words: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All that can be run: a command whose subcommand may be left out is one, too."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if words and not (below and below[0].required):
        yield words, parser
    for action in below:
        for name, inner in action.choices.items():
            yield from commands(inner, f"{words} {name}".strip())


def spots() -> list[Spot]:
    """Every option of every command."""
    found = []
    for command, parser in commands(_parser()):
        if command in STAGES:
            found += [_spot(command, f"--{key}", None) for key in stage_keys()]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
                continue
            found.append(
                _spot(command, action.option_strings[0] if action.option_strings else action.dest, action)
            )
    return found


def _spot(command: str, option: str, action: argparse.Action | None) -> Spot:
    if action is not None and action.nargs == 0:
        return Spot(command, option, FLAG)
    is_file = option in _PATHS or (action is not None and action.type is Path)
    takes = "output" if option in OUTPUTS else "file" if is_file else "value"
    choices = tuple(map(str, action.choices or ())) if action is not None else ()
    return Spot(command, option, takes, action is not None and action.nargs == "+", choices)


def stage_keys() -> list[str]:
    """Settings of a stage, read from what takes them: the trainer, the data, the student, and our own beside them."""
    keys = ["config", "ckpt_path", "seed_everything", *_own_keys()]
    for before, takes in (("trainer", L.Trainer), ("data", FaceDataModule), ("model.init_args", Student)):
        keys += [f"{before}.{key}" for key in _keys(takes)]
    return keys


def _own_keys() -> list[str]:
    parser = argparse.ArgumentParser(add_help=False)
    StageCLI.add_arguments_to_parser(None, parser)  # type: ignore[arg-type]  # nothing but the parser is used
    return [action.dest for action in parser._actions]


def _keys(takes: Any) -> Iterator[str]:
    """Names of its arguments, those of its base class and of dataclasses among them too, dotted."""
    for owner in takes.__mro__ if isinstance(takes, type) else (takes,):
        if owner is object or "__init__" not in vars(owner):
            continue
        hints = get_type_hints(owner.__init__)
        for name, parameter in inspect.signature(owner.__init__).parameters.items():
            if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if dataclasses.is_dataclass(hint := hints.get(name)):
                yield from (f"{name}.{key}" for key in _keys(hint))
            else:
                yield name
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(owner.__init__).parameters.values()):
            return
