"""`--set KEY=VALUE`: what the command line changes in an experiment, and what a stage's settings come to."""

import dataclasses
from typing import Any

import yaml

from data_modules.errors import UserError
from fau_mae.runs import schema
from fau_mae.runs.config_files import merge, nested, read_value
from fau_mae.runs.experiment import Experiment, Stage

_LONGEST = 60  # of a value that a message repeats


def with_overrides(experiment: Experiment, overrides: list[str]) -> Experiment:
    """prepare.KEY and ladder.KEY change the experiment, STAGE.KEY one stage, any other KEY all stages.

    Raises `UserError` for a text that is no KEY=VALUE, and for keys of the first two kinds that there are not.
    """
    prepare, ladder = dict(experiment.prepare), dict(experiment.ladder)
    options: dict[str, list[str]] = {stage: [] for stage in experiment.every_stage()}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: write KEY=VALUE, such as trainer.max_epochs=1")
        head, _, rest = key.partition(".")
        if head == "ladder":
            schema.check_keys(f"--set {text}: ladder", {rest: value}, schema.LADDER_KEYS)
            ladder[rest] = _value(key, value)
        elif head == "prepare":
            prepare[rest] = _value(key, value)
        elif head in options:
            options[head].append(f"--{rest}={value}")
        else:
            for lines in options.values():
                lines.append(f"--{key}={value}")
    schema.check_prepare(prepare)

    def changed(stages: dict[str, Stage]) -> dict[str, Stage]:
        return {name: dataclasses.replace(stage, options=options[name]) for name, stage in stages.items()}

    return dataclasses.replace(
        experiment,
        prepare=prepare,
        ladder=ladder,
        stages=changed(experiment.stages),
        ablations=changed(experiment.ablations),
    )


def effective(stage: Stage) -> dict[str, Any]:
    """A stage's settings with `--set` laid over them."""
    given: dict[str, Any] = {}
    for option in stage.options:
        key, _, value = option.removeprefix("--").partition("=")
        given = merge(given, nested({key: _value(key, value)}))
    return merge(stage.settings, given)


def _value(key: str, value: str) -> Any:
    try:
        return read_value(value)
    except yaml.YAMLError as error:
        short = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
        raise UserError(f"--set {key}: {short!r} is no value: {' '.join(str(error).split())}") from error
