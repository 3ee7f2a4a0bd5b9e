"""W&B sweep files: what a file may say, the trials it names, and the command line of each.

A file is a plain W&B sweep configuration whose `command` runs `fau-mae fit` or `fau-mae run` with an `--out` that
holds `{trial}`. `wandb agent` runs it as it is; `fau-mae sweep` runs the same file on Ray Tune (ray_tune.py).
On disk, under the part of `--out` before `{trial}`: `sweep.yaml` (a copy), `trial-<number>/{trial.json, log.txt, …}`,
`results.parquet` (the long table of every trial, its parameters beside it) and `summary.csv`.
"""

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.files import read_json, read_text, read_yaml, write_json, write_text
from fau_mae.runs.config_files import experiments_root

PLACE = "{trial}"  # in `--out`: the trial's own folder
METHODS = ("grid", "random", "bayes")
_MACROS = ("args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags")


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file.

    `folder`: where its trials go; `out`: a trial's `--out` below its own folder ("" = that folder itself);
    `words`: the trial's `fau-mae` arguments with macros, without `--out`; `parameters`: W&B's own entries;
    `run_cap`: number of trials, None = the whole grid; `patience`: of hyperband, None = every trial runs to its end.
    """

    name: str
    folder: Path
    out: str
    words: list[str]
    method: str
    metric: str
    maximize: bool
    parameters: dict[str, dict[str, Any]]
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
    cap = trials or config.get("run_cap")
    if method != "grid" and not cap:
        raise UserError(f"{path}: method {method} needs `run_cap` (or --trials), the number of trials")
    for name, entry in config["parameters"].items():
        check_parameter(f"{path}: {name}", entry, method)
    return Sweep(
        name=str(config.get("name") or path.stem),
        folder=(out or Path(before)).absolute(),
        out=after.strip("/"),
        words=words,
        method=method,
        metric=str(metric["name"]),
        maximize=metric["goal"] == "maximize",
        parameters=config["parameters"],
        run_cap=int(cap) if cap else None,
        patience=_patience(path, config.get("early_terminate")),
    )


def _command(path: Path, config: Mapping[str, Any]) -> tuple[list[str], str]:
    """The words behind `fau-mae`, without `--out`; and the value of `--out`."""
    command = [str(word) for word in config.get("command") or ()]
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


def check_parameter(where: str, entry: Any, method: str) -> None:
    """Refuse what W&B would not accept, what a grid cannot hold, and the distributions Ray Tune lacks."""
    if not isinstance(entry, dict) or "parameters" in entry:
        raise UserError(
            f"{where}: write one entry per setting, its name dotted, such as model.init_args.net.size"
        )
    if "value" in entry or isinstance(entry.get("values"), list):
        return
    if method == "grid":
        raise UserError(f"{where}: a grid needs `values` or `value`")
    known = (*_BOUNDED, *_NORMAL)
    if distribution(entry) not in known:
        raise UserError(f"{where}: distribution {entry.get('distribution')!r} is none of {', '.join(known)}")
    needed = ("min", "max") if distribution(entry) in _BOUNDED else ()
    if missing := [key for key in needed if not isinstance(entry.get(key), int | float)]:
        raise UserError(f"{where}: needs numbers for {' and '.join(missing)}, or `values`")
    if needed and not entry["min"] < entry["max"]:
        raise UserError(f"{where}: min is not below max")


_BOUNDED = ("uniform", "int_uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values")
_NORMAL = ("normal", "q_normal")


def distribution(entry: Mapping[str, Any]) -> str:
    """W&B's name of a range's distribution; by default uniform, over integers where both ends are."""
    whole = isinstance(entry.get("min"), int) and isinstance(entry.get("max"), int)
    return str(entry.get("distribution") or ("int_uniform" if whole else "uniform"))


def _patience(path: Path, entry: Any) -> dict[str, int] | None:
    """`early_terminate: hyperband` as the first rung and the factor between rungs, in values of the metric."""
    if not entry:
        return None
    if not isinstance(entry, dict) or entry.get("type") != "hyperband":
        raise UserError(f"{path}: early_terminate knows the type hyperband only")
    eta = int(entry.get("eta", 3))
    if "min_iter" in entry:
        first = int(entry["min_iter"])
    elif "max_iter" in entry:
        first = int(entry["max_iter"]) // eta ** int(entry.get("s", 1))
    else:
        raise UserError(f"{path}: early_terminate needs min_iter, or max_iter and s")
    return {"first": max(1, first), "factor": eta}


def grid(sweep: Sweep) -> list[dict[str, Any]]:
    """Every combination of a grid's values, the last parameter changing fastest; cut at `run_cap`."""
    names = list(sweep.parameters)
    choices = [
        entry["values"] if "values" in entry else [entry["value"]] for entry in sweep.parameters.values()
    ]
    combinations = [dict(zip(names, chosen)) for chosen in itertools.product(*choices)]
    return combinations[: sweep.run_cap]


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
    return Trial(folder, **read_json(folder / "trial.json"))


def read_trials(folder: Path) -> list[Trial]:
    """The trials of the sweep in `folder`, in order of their numbers."""
    trials = [read_trial(path.parent) for path in folder.glob("trial-*/trial.json")]
    return sorted(trials, key=lambda trial: trial.number)


def is_done(sweep: Sweep) -> bool:
    """Whether every trial that the file asks for is over."""
    wanted = len(grid(sweep)) if sweep.method == "grid" else sweep.run_cap or 0
    trials = read_trials(sweep.folder)
    return len(trials) >= wanted and all(trial.over for trial in trials)


def claim_folder(sweep: Sweep, path: Path) -> None:
    """Keep a copy of the file beside its trials; a folder with the trials of another sweep is refused."""
    copy = sweep.folder / "sweep.yaml"
    if copy.is_file():
        old, new = (read_yaml(file) for file in (copy, path))
        if changed := [key for key in {*old, *new} - {"run_cap"} if old.get(key) != new.get(key)]:
            raise UserError(
                f"{sweep.folder} holds trials of a file with another {', '.join(sorted(changed))}: "
                "use another --out, or delete that folder"
            )
    sweep.folder.mkdir(parents=True, exist_ok=True)
    write_text(copy, read_text(path))
