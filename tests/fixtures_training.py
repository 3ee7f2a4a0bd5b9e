"""Trainings of quickstart stages on tiny data through the command line, cut short and compared."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from conftest import TINY

from data_modules.stores.store import FaceStore
from fau_mae.runs.experiment import load_experiment

FauMae = Callable[..., int]


STAGES = list(load_experiment("quickstart").trained())


def fit(
    fau_mae: FauMae, stage: str, store: FaceStore, out: Path, *more: str, init: Path | None = None
) -> int:
    """One quickstart stage on the tiny store, from scratch unless `init` is given."""
    arguments = [
        "fit",
        "--config",
        f"quickstart/{stage}",
        "--out",
        out,
        f"--data.store={store.path}",
        *TINY,
    ]
    if stage != "pretrain":
        arguments.append(f"--model.init_args.init_from={init or 'null'}")
    if stage == "student":
        arguments.append(f"--model.init_args.teacher={init}")
    return fau_mae(*arguments, *more)


def losses(out: Path) -> list[float]:
    with (out / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


LONG = ["--trainer.max_epochs=3", "--trainer.limit_train_batches=1.0"]  # 3 epochs of 4 steps


SAVE_EVERY_STEP = "--checkpoint_minutes=0"


@contextmanager
def power_cut(epoch: int, step: int) -> Iterator[None]:
    """Raise before this step of this epoch; every earlier step must have been trained, this process' first included."""
    from fau_mae.tasks.stage import Stage

    begin = Stage.on_train_batch_start

    def cut(module, batch, now: int) -> None:
        if (module.current_epoch, now) == (epoch, step):
            raise RuntimeError("power cut")
        begin(module, batch, now)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(Stage, "on_train_batch_start", cut)
        yield


def assert_same_training(one: Path, other: Path) -> None:
    """Two stage folders: the same metrics, weights, optimiser state and schedule, to the bit."""
    assert (other / "metrics.csv").read_text() == (one / "metrics.csv").read_text()
    a, b = (torch.load(p / "checkpoints" / "last.ckpt", weights_only=True) for p in (one, other))
    for key in ("epoch", "global_step", "lr_schedulers"):
        assert a[key] == b[key]
    for x, y in zip(
        flat([a["state_dict"], a["optimizer_states"]]), flat([b["state_dict"], b["optimizer_states"]])
    ):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y


def flat(value: object) -> Iterator[object]:
    """The leaves of nested mappings and lists, in order."""
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from flat(item)
    else:
        yield value


def numbers(hint: Any) -> bool:
    """Whether a hint takes numbers, alone or in a list."""
    return hint in (int, float) or any(numbers(part) for part in get_args(hint) if part is not ...)


def train_detector(fau_mae: FauMae, store: FaceStore, out: Path, *more: str) -> Path:
    assert train_detector_code(fau_mae, store, out, *more) == 0
    return out / "checkpoints" / "last.ckpt"


def train_detector_code(fau_mae: FauMae, store: FaceStore, out: Path, *more: str) -> int:
    """The exit code of a detector's training."""
    line = [
        "fit",
        "--config",
        "quickstart/detector",
        "--out",
        out,
        f"--data.store={store.path}",
        *TINY,
    ]
    return fau_mae(*line, "--model.init_args.init_from=null", *more)
