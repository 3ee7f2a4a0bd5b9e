"""What a stage's settings may say of Lightning's trainer, checked before anything is trained."""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning as L
import yaml

from data_modules.errors import UserError
from data_modules.ranges import FROM_0, FROM_1, SHARE, Range, check_number
from fau_mae.runs.config_files import read_value
from fau_mae.runs.settings.complaints import as_user_errors
from fau_mae.runs.settings.keys import given_in
from fau_mae.tasks.optim import NO_END
from fau_mae.tasks.stage import Stage

# Of an epoch's batches where they are no whole numbers.
SHARES = (
    "overfit_batches",
    "val_check_interval",
    *(f"limit_{name}_batches" for name in ("train", "val", "test", "predict")),
)
_DEFAULTS = {name: one.default for name, one in inspect.signature(L.Trainer).parameters.items()}
RANGES: dict[str, Range] = {
    "num_nodes": FROM_1,
    "fast_dev_run": FROM_0,
    "max_epochs": Range(-1),
    "min_epochs": FROM_0,
    "max_steps": Range(-1),
    "min_steps": FROM_0,
    **dict.fromkeys(SHARES, FROM_0),
    "val_check_interval": Range(0, above=True),
    "check_val_every_n_epoch": FROM_1,
    "num_sanity_val_steps": Range(-1),
    "log_every_n_steps": FROM_1,
    "accumulate_grad_batches": FROM_1,
    "gradient_clip_val": FROM_0,
    "reload_dataloaders_every_n_epochs": FROM_0,
}
# What a stage decides itself: setting -> its value, and why.
OWN: dict[str, tuple[Any, str]] = {
    "logger": (False, "metrics go to metrics.csv and W&B in --out; WANDB_MODE=disabled leaves W&B out"),
    "default_root_dir": (None, "everything goes to --out"),
    "enable_checkpointing": (True, "last.ckpt and best.ckpt are what a stage leaves"),
    "use_distributed_sampler": (False, "the data module's samplers know the processes"),
    "barebones": (False, "it would leave no checkpoints"),
}


def whole_numbers(line: Iterable[str]) -> dict[str, int]:
    """Those of `SHARES` that a completed line gives as whole numbers: 1 is one batch, 1.0 all of them.

    What Lightning declares as `int | float` the parser reads as either, by the order in which libraries were imported.
    """
    found: dict[str, int] = {}
    for key, value in given_in(line):
        name = key.removeprefix("trainer.")
        if key.startswith("trainer.") and name in SHARES:
            number = value
            if isinstance(value, str):
                # What is no YAML is Lightning's parser's to refuse.
                with contextlib.suppress(yaml.YAMLError):
                    number = read_value(value)
            found.pop(name, None)
            if isinstance(number, int) and not isinstance(number, bool):
                found[name] = number
    return found


def check_trainer(given: Mapping[str, Any]) -> None:
    """Raise `UserError` for a number out of its range, and for what a stage decides itself."""
    for name, value in given.items():
        if name in OWN and value not in (OWN[name][0], None):
            raise UserError(f"trainer.{name} is not to be set: {OWN[name][1]}")
        if name in RANGES and value is not None and isinstance(value, int | float):
            check_number(f"trainer.{name}", int(value) if isinstance(value, bool) else value, RANGES[name])
            if isinstance(value, float) and name in SHARES:
                check_number(f"trainer.{name}", value, SHARE)
    epochs = given.get("max_epochs")
    if epochs is None and given.get("max_time") is not None:  # Lightning then knows no other end
        epochs = -1
    if epochs == -1 and given.get("max_steps", -1) == -1:
        raise UserError(f"trainer.max_epochs={given['max_epochs']}: {NO_END}")


def build_trainer(build: Callable[[], L.Trainer], given: Mapping[str, Any]) -> L.Trainer:
    """What `build` makes of `given`. Raises `UserError` that names the setting which Lightning does not take."""
    try:
        with as_user_errors("trainer"):
            return build()
    except UserError as error:
        if error.__cause__ is None:
            raise
        name = _to_blame(given)
        if name is None:
            raise
        default = _DEFAULTS[name]
        said = str(error).removeprefix("trainer: ").rstrip(".")
        raise UserError(f"trainer.{name}={given[name]}: {said}; the default is {default}") from error


def _to_blame(given: Mapping[str, Any]) -> str | None:
    """The setting without which a trainer can be built; None where it is not one alone."""
    plain = {
        key: value
        for key, value in given.items()
        if key in _DEFAULTS and key not in ("callbacks", "logger", "plugins")
    }
    changed = [key for key, value in plain.items() if value != _DEFAULTS[key]]
    for name in changed:
        rest = {key: value for key, value in plain.items() if key != name}
        try:
            L.Trainer(**rest, logger=False)
        except Exception:  # as many kinds as settings
            continue
        return name
    return None


def check_monitors(trainer: L.Trainer, stage: Stage) -> None:
    """Raise `UserError` for a callback that watches what the stage never logs."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        known = sorted(stage.logged()) + ["epoch", "step"]
        if monitor is not None and monitor not in known and getattr(callback, "strict", True):
            raise UserError(
                f"trainer.callbacks: {type(callback).__name__}.monitor is {monitor!r}: this stage logs "
                f"{', '.join(known)}"
            )
