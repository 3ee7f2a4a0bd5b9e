"""W&B sweep files: what a file may say, the trials it names, and the command line of each.

A file is a plain W&B sweep configuration whose `command` runs `fau-mae fit` or `fau-mae run` with an `--out` that
holds `{trial}`. `wandb agent` runs it as it is; `fau-mae sweep` runs the same file on Ray Tune (ray_tune.py).
On disk, under the part of `--out` before `{trial}`: `sweep.yaml` (a copy), `trial-<number>/{trial.json, log.txt, …}`,
`results.parquet` (the long table of every trial, its parameters beside it) and `summary.csv`.
"""

import difflib
import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.errors import UserError
from data_modules.files import read_json, read_text, read_yaml, reading, write_json, write_text
from fau_mae.runs.config_files import experiments_root
from fau_mae.sweeps.distributions import Distribution, read_distribution

_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")
_KEYS = (
    "program", "command", "method", "metric", "parameters", "run_cap", "early_terminate", "name", "project",
    "entity", "description",
)  # fmt: skip
_MOST_TRIALS = 100_000
PLACE = "{trial}"  # in `--out`: the trial's own folder
_STATES = ("waiting", "running", "finished", "stopped", "failed")
METHODS = ("grid", "random", "bayes")
_MACROS = ("args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags")


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file.

    `folder`: where its trials go; `out`: a trial's `--out` below its own folder ("" = that folder itself);
    `words`: the trial's `fau-mae` arguments with macros, without `--out`; `parameters`: by their dotted names;
    `run_cap`: number of trials, None = the whole grid; `patience`: of hyperband, None = every trial runs to its end.
    """

    name: str
    folder: Path
    out: str
    words: list[str]
    method: str
    metric: str
    maximize: bool
    parameters: dict[str, Distribution]
    run_cap: int | None
    patience: dict[str, int] | None

    @property
    def stage(self) -> str:
        """`fit` (one stage a trial) or `run` (an experiment a trial)."""
        return self.words[0]


def built_in_sweeps() -> list[str]:
    """Names of the shipped sweep files."""
    return sorted(path.stem for path in (experiments_root() / "sweeps").glob("*.yaml"))


def find_sweep(name: str) -> Path:
    """A sweep file, or a shipped one by its name. Raises `UserError` where there is neither."""
    for path in (Path(name), experiments_root() / "sweeps" / f"{name}.yaml"):
        if path.is_file():
            return path
    raise UserError(f"no sweep file {name}: give a file, or one of {', '.join(built_in_sweeps())}")


def load_sweep(path: Path, out: Path | None = None, trials: int | None = None) -> Sweep:
    """Read a W&B sweep file. `out` and `trials` stand in for the folder in it and its `run_cap`.

    Raises:
        UserError: not readable, or something that cannot be run on this engine; says what to write instead.
    """
    try:
        config = read_yaml(path)
    except OSError as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or not isinstance(config.get("parameters"), dict):
        raise UserError(
            f"{path} is not a W&B sweep file: it needs `method`, `metric`, `parameters`, `command`"
        )
    if unknown := [key for key in config if key not in _KEYS]:
        nearest = difflib.get_close_matches(str(unknown[0]), _KEYS, n=1, cutoff=0.0)[0]
        raise UserError(f"{path}: unknown key {unknown[0]!r}: did you mean {nearest!r}?")
    method, metric = config.get("method"), config.get("metric") or {}
    if method not in METHODS:
        raise UserError(f"{path}: method {method!r} is none of {', '.join(METHODS)}")
    if (
        not isinstance(metric, dict)
        or metric.get("goal") not in ("maximize", "minimize")
        or "name" not in metric
    ):
        raise UserError(f"{path}: metric needs a name, such as val/auroc, and a goal, maximize or minimize")
    words, place = _command(path, config)
    before, after = place.split(PLACE)
    cap = config.get("run_cap") if trials is None else trials
    if cap is not None and (type(cap) is not int or cap < 1):
        raise UserError(f"{path}: run_cap (or --trials) must be a whole number from 1, not {cap!r}")
    if method != "grid" and cap is None:
        raise UserError(f"{path}: method {method} needs `run_cap` (or --trials), the number of trials")
    parameters = {}
    for name, entry in config["parameters"].items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"{path}: parameter {name!r}: write a dotted name, such as model.init_args.optim.lr"
            )
        parameters[name] = read_distribution(f"{path}: {name}", entry, method)
    if not parameters:
        raise UserError(f"{path}: parameters is empty: name what is to be tried")
    if method == "grid" and cap is None:
        total = math.prod(len(parameter.values()) for parameter in parameters.values())
        if total > _MOST_TRIALS:
            raise UserError(f"{path}: a grid of {total} trials: write run_cap, or try fewer values")
    return Sweep(
        name=str(config.get("name") or path.stem),
        folder=(out or Path(before)).absolute(),
        out=after.strip("/"),
        words=words,
        method=method,
        metric=str(metric["name"]),
        maximize=metric["goal"] == "maximize",
        parameters=parameters,
        run_cap=cap,
        patience=_patience(path, config.get("early_terminate")),
    )


def _command(path: Path, config: Mapping[str, Any]) -> tuple[list[str], str]:
    """The words behind `fau-mae`, without `--out`; and the value of `--out`."""
    command = config.get("command")
    if not isinstance(command, list):
        raise UserError(f"{path}: command must be a list of words, such as ['${{program}}', fit, …]")
    command = list(map(str, command))
    program = [i for i, word in enumerate(command) if word in ("${program}", "fau-mae")]
    words = command[program[0] + 1 :] if program else []
    named = config.get("program") if "${program}" in command else "fau-mae"
    if not words or words[0] not in ("fit", "run") or named != "fau-mae":
        raise UserError(
            f"{path}: write program: fau-mae and command: ['${{env}}', '${{program}}', fit or run, …]"
        )
    if not any(word == f"${{{macro}}}" for word in words for macro in _MACROS):
        raise UserError(f"{path}: command lacks ${{args}}, where the parameters go")
    places = [i for i, word in enumerate(words[:-1]) if word == "--out"]
    if len(places) != 1 or words[places[0] + 1].count(PLACE) != 1:
        raise UserError(
            f"{path}: command needs `--out` and a folder with {PLACE} in it, so that trials do not share one"
        )
    place = words[places[0] + 1]
    return words[: places[0]] + words[places[0] + 2 :], place


def _patience(path: Path, entry: Any) -> dict[str, int] | None:
    """`early_terminate: hyperband` as the first rung and the factor between rungs, in values of the metric."""
    if not entry:
        return None
    if not isinstance(entry, dict) or entry.get("type") != "hyperband":
        raise UserError(f"{path}: early_terminate knows the type hyperband only")
    for key, least in (("min_iter", 1), ("max_iter", 1), ("s", 0), ("eta", 2)):
        if key in entry and (type(entry[key]) is not int or entry[key] < least):
            raise UserError(
                f"{path}: early_terminate: {key} must be a whole number from {least}, not {entry[key]!r}"
            )
    eta = entry.get("eta", 3)
    if "min_iter" in entry:
        first = entry["min_iter"]
    elif "max_iter" in entry:
        first = entry["max_iter"] // eta ** entry.get("s", 1)
    else:
        raise UserError(f"{path}: early_terminate needs min_iter, or max_iter and s")
    return {"first": max(1, first), "factor": eta}


def grid(sweep: Sweep) -> list[dict[str, Any]]:
    """Every combination of a grid's values, the last parameter changing fastest; cut at `run_cap`."""
    names = list(sweep.parameters)
    choices = [parameter.values() for parameter in sweep.parameters.values()]
    chosen = itertools.islice(itertools.product(*choices), sweep.run_cap)
    return [dict(zip(names, values)) for values in chosen]


def draw(sweep: Sweep) -> list[dict[str, Any]]:
    """`run_cap` random draws; the n-th depends on n only, so a sweep may be made longer."""
    draws = []
    for number in range(sweep.run_cap or 0):
        random = np.random.default_rng(number)
        draws.append({name: parameter.at(random.random()) for name, parameter in sweep.parameters.items()})
    return draws


def trial_words(sweep: Sweep, parameters: Mapping[str, Any], out: Path) -> list[str]:
    """Arguments of `fau-mae` for one trial: W&B's macros filled in as its agent does, `--out` at the end."""
    flags = [f"{name}={value}" for name, value in parameters.items()]
    macros = {
        "args": [f"--{flag}" for flag in flags],
        "args_no_hyphens": flags,
        "args_no_equals": [word for name, value in parameters.items() for word in (f"--{name}", str(value))],
        "args_no_boolean_flags": [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in parameters.items()
            if value is not False
        ],
    }
    words: list[str] = []
    for word in sweep.words:
        words += (
            macros.get(word[2:-1], []) if word.startswith("${") and word.endswith("}") else [_environ(word)]
        )
    return [*words, "--out", str(out)]


def _environ(word: str) -> str:
    """`${envvar:NAME}` as W&B's agent reads it."""
    return re.sub(r"\$\{envvar:([A-Z0-9_]*)\}", lambda found: os.environ.get(found[1], found[1]), word)


def name_trial(arguments: Sequence[str]) -> list[str]:
    """Under a W&B agent, `{trial}` in the command line is the id of the agent's run; the same on every rank."""
    if not any(PLACE in word for word in arguments):
        return list(arguments)
    trial = os.environ.get("WANDB_RUN_ID")
    if not trial:
        raise UserError(f"{PLACE} is filled in by `wandb agent` and `fau-mae sweep`; write a folder instead")
    return [word.replace(PLACE, trial) for word in arguments]


@dataclass
class Trial:
    """One trial on disk: `<sweep>/trial-<number>/trial.json`. Its state says whether it is to be run (again)."""

    folder: Path
    number: int
    parameters: dict[str, Any]
    state: str = "waiting"  # then running; then finished, stopped (early) or failed
    value: float | None = None  # the metric's last value
    seconds: float = 0.0  # since its last start

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def over(self) -> bool:
        """Whether nothing is left to run: finished, or stopped early because others did better."""
        return self.state in ("finished", "stopped")

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {key: value for key, value in vars(self).items() if key != "folder"}
        write_json(self.folder / "trial.json", values)


def create_trial(folder: Path, number: int, parameters: Mapping[str, Any]) -> Trial:
    """Note down a new trial of the sweep in `folder`."""
    trial = Trial(folder / f"trial-{number:04d}", number, dict(parameters))
    trial.write()
    return trial


def read_trial(folder: Path) -> Trial:
    """The trial in `folder`, as far as it got."""
    path, cure = folder / "trial.json", f"delete {folder}: the same command runs that trial anew"
    values = read_json(path, cure)
    with reading(path, cure):
        trial = Trial(folder, **values)
        if type(trial.number) is not int or not isinstance(trial.parameters, dict):
            raise ValueError("its number or parameters are of another kind")
        if trial.state not in _STATES or not isinstance(trial.value, int | float | None):
            raise ValueError(f"its state is {trial.state!r}, its value {trial.value!r}")
    return trial


def read_trials(folder: Path) -> list[Trial]:
    """The trials of the sweep in `folder`, in order of their numbers."""
    trials = [read_trial(path.parent) for path in folder.glob("trial-*/trial.json")]
    return sorted(trials, key=lambda trial: trial.number)


def is_done(sweep: Sweep) -> bool:
    """Whether every trial that the file asks for is over."""
    wanted = len(grid(sweep)) if sweep.method == "grid" else sweep.run_cap or 0
    trials = read_trials(sweep.folder)
    return len(trials) >= wanted and all(trial.over for trial in trials)


def is_sweep(folder: Path) -> bool:
    """Whether `fau-mae sweep` made the folder."""
    return (folder / "sweep.yaml").is_file() and any(folder.glob("trial-*/trial.json"))


def claim_folder(sweep: Sweep, path: Path) -> None:
    """Keep a copy of the file beside its trials; a folder with the trials of another sweep is refused."""
    copy = sweep.folder / "sweep.yaml"
    if copy.is_file():
        old, new = (read_yaml(file) for file in (copy, path))
        if not isinstance(old, dict):
            raise UserError(f"{copy} is damaged: put a copy of {path} there, or use another --out")
        if changed := [key for key in {*old, *new} - {"run_cap"} if old.get(key) != new.get(key)]:
            raise UserError(
                f"{sweep.folder} holds trials of a file with another {', '.join(sorted(changed))}: "
                "use another --out, or delete that folder"
            )
    sweep.folder.mkdir(parents=True, exist_ok=True)
    if not (copy.exists() and copy.samefile(path)):  # a file called sweep.yaml in the folder of its sweep
        write_text(copy, read_text(path))
