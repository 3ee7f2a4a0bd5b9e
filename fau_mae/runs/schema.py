"""What an `experiment.yaml` may say, checked before anything is done. docs/experiments.md explains every key."""

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.occlusion.rungs import check_fill, check_kinds, check_severities, is_share
from data_modules.prepare import SOURCES

REQUIRED = ("prepare", "folds", "seeds", "stages", "methods", "ladder")
KEYS = ("about", "cost", *REQUIRED, "ablations", "set")
WIRES = ("init_from", "teacher")  # arguments of a model that take another stage's checkpoint
STAGE_KEYS = ("like", "config", "set", "by_hand", *WIRES)
METHOD_KEYS = ("reads_with", "fills_with", "at")
LADDER_KEYS = ("kinds", "severities", "fill", "thresholds", "detector")
LARGEST_SEED = 2**32 - 1  # numpy takes no other
_TAKEN = ("ladder", "predictions", "evaluate", "targets")  # beside stages in the folder of a fold
THRESHOLD_RULES = ("by_visibility", "clean", "fixed")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like `word`."""
    return difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.0)[0]


def check_keys(where: str, entry: Any, known: Sequence[str]) -> dict[str, Any]:
    """`entry` as a mapping of known keys, {} for nothing. Raises `UserError` that names the nearest key."""
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise UserError(f"{where} is {entry!r}: write `key: value` lines, keys {', '.join(known)}")
    for key in entry:
        if key not in known:
            raise UserError(f"{where}: unknown setting {key!r}: did you mean {nearest(key, known)!r}?")
    return entry


def checked(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values of an `experiment.yaml`, `base` merged in, with defaults. Raises `UserError`."""
    values = dict(check_keys(str(path), values, KEYS))
    if missing := [key for key in REQUIRED if key not in values]:
        raise UserError(f"{path}: {missing[0]!r} is missing")
    for key in ("stages", "ablations"):
        entries = values.setdefault(key, {}) or {}
        if not isinstance(entries, dict):
            raise UserError(f"{path}: {key} is {entries!r}: write `NAME: {{…}}` lines")
        values[key] = {
            name: check_keys(f"{path}: {key}.{name}", e, STAGE_KEYS)
            for name, e in entries.items()
            if e is not None
        }
        for name in set(values[key]) & set(_TAKEN):
            raise UserError(
                f"{path}: {key}.{name}: that name is taken by another step of a run; choose another"
            )
    if both := set(values["stages"]) & set(values["ablations"]):
        raise UserError(f"{path}: {min(both)} is both a stage and an ablation")
    if not isinstance(values["methods"], dict) or not values["methods"]:
        raise UserError(
            f"{path}: methods is {values['methods']!r}: write `NAME: {{reads_with: STAGE}}` lines"
        )
    values["methods"] = {name: method for name, method in values["methods"].items() if method is not None}
    for name, method in values["methods"].items():
        method = check_keys(f"{path}: methods.{name}", method, METHOD_KEYS)
        if ("at" in method) == ("reads_with" in method):
            raise UserError(f"{path}: methods.{name} needs either reads_with or at")
    values["ladder"] = {
        "thresholds": "by_visibility",
        **check_keys(f"{path}: ladder", values["ladder"], LADDER_KEYS),
    }
    values["prepare"] = dict(values["prepare"])
    return values


def check_names(
    path: Path, methods: Mapping[str, dict[str, Any]], known: Mapping[str, Any], *groups: Mapping[str, Any]
) -> None:
    """Refuse stages and methods that name a stage there is not, or one that comes after."""
    before: list[str] = []
    for name, stage in (pair for group in groups for pair in group.items()):
        for key, source in stage.takes.items():
            if source not in before:
                raise UserError(f"{path}: {name}.{key} is {source!r}, no stage before it: {_list(before)}")
        before.append(name)
    for name, method in methods.items():
        at = method.get("at", {})
        if not isinstance(at, dict) or not all(is_share(severity) for severity in at):
            raise UserError(f"{path}: methods.{name}.at is {at!r}: write {{severity: stage}}")
        for stage in (*at.values(), *(method[key] for key in METHOD_KEYS[:2] if key in method)):
            if stage not in known:
                raise UserError(f"{path}: methods.{name} names {stage!r}, no stage: {_list(known)}")


def check_run(experiment: Any) -> None:
    """Refuse in one line what of an `Experiment` would fail, or mean nothing, after hours of training."""
    _check_numbers("folds", experiment.folds, 1)
    _check_numbers("seeds", experiment.seeds, 0, LARGEST_SEED)
    check_prepare(experiment.prepare)
    check_ladder(experiment.ladder, list(experiment.stages))
    alone = [name for name, method in experiment.methods.items() if "at" in method]
    if experiment.ladder["thresholds"] == "clean" and alone:
        raise UserError(
            f"ladder.thresholds is 'clean', but {alone[0]} sees no clean faces: use by_visibility or fixed"
        )


def _check_numbers(name: str, numbers: Sequence[int], least: int, most: int | None = None) -> None:
    if not isinstance(numbers, list) or not numbers:
        raise UserError(f"{name} is {numbers!r}: write a list of whole numbers, such as [1, 2, 3]")
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise UserError(f"{name}: {number!r} is no whole number from {least} on")
        if most is not None and number > most:
            raise UserError(f"{name}: {number} is above {most}")
        if numbers.count(number) > 1:
            raise UserError(f"{name}: {number} is given twice")


def check_prepare(options: dict[str, Any]) -> None:
    """Refuse a source or an option of it that `fau-mae prepare` does not have."""
    source = options.get("source")
    if source not in SOURCES:
        raise UserError(f"prepare.source is {source!r}: use one of {', '.join(SOURCES)}")
    function = getattr(import_module(f"data_modules.{source}"), f"prepare_{source}")
    known = [name for name in inspect.signature(function).parameters if name not in ("out", "progress")]
    check_keys("prepare", options, ["source", *known])


def check_ladder(ladder: dict[str, Any], stages: Sequence[str]) -> None:
    """Refuse a ladder that cannot be walked, or whose rungs would share a file."""
    check_kinds(ladder.get("kinds"), "ladder.")
    check_severities(ladder.get("severities"), "ladder.")
    check_fill(ladder.get("fill"), "ladder.")
    if (rule := ladder.get("thresholds")) not in THRESHOLD_RULES:
        raise UserError(f"ladder.thresholds is {rule!r}: use one of {', '.join(THRESHOLD_RULES)}")
    detector = ladder.get("detector")
    if detector is not None and detector not in stages:
        raise UserError(f"ladder.detector is {detector!r}, no stage: {_list(stages)}")


def _list(names: Iterable[str]) -> str:
    return f"there are {', '.join(names) or 'none'}"
