"""What the steps of a run are at, as their files tell it: a live table in a terminal, lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fau_mae.engines.ray_task import WAITS
from fau_mae.runs.graph import Step

_READ_SECONDS = 2.0  # between two looks at the metrics


class Reached(NamedTuple):
    """How far a training is: epoch and optimiser step from 0, its last loss, and all steps it will take, if known."""

    epoch: int
    step: int
    loss: float
    steps: int | None


class Board:
    """Shows the steps until the block ends.

    Args:
        steps: those that are to be done.
        logs: folder in which the process of each writes, as `log_of` says, while it works.
    """

    def __init__(self, steps: Sequence[Step], logs: Path):
        self._steps, self._logs = steps, logs
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._since: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._first: dict[str, tuple[float, int]] = {}  # when a training was first seen, and at which step
        self._reached: dict[str, Reached] = {}
        self._read = 0.0

    def __enter__(self) -> "Board":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, outcomes: Mapping[str, str | None]) -> None:
        """`outcomes`: of the steps that are over, None where they are done, else why they are not."""
        now = time.monotonic()
        for step in self._steps:
            name = step.name
            if name not in self._since and (name in outcomes or log_of(self._logs, name).exists()):
                self._since[name] = now
                self._say(f"{name}: started")
            if name in outcomes and name not in self._took:
                self._took[name] = now - self._since[name]
                why = outcomes[name]
                self._say(f"{name}: {f'done in {_clock(self._took[name])}' if why is None else why}")
        if self._live is not None:
            if now - self._read > _READ_SECONDS:
                self._look(outcomes, now)
            self._live.update(self._table(outcomes, now), refresh=True)

    def _say(self, line: str) -> None:
        if self._live is None:
            self._console.print(line, soft_wrap=True, highlight=False)

    def _look(self, outcomes: Mapping[str, str | None], now: float) -> None:
        self._read = now
        for step in self._steps:
            at_work = step.name in self._since and step.name not in outcomes
            if at_work and step.trainer and (reached := how_far(step.folder, step.trainer)) is not None:
                self._reached[step.name] = reached
                self._first.setdefault(step.name, (now, reached.step))

    def _table(self, outcomes: Mapping[str, str | None], now: float) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("step", "state", "epoch", "loss", "time", "left"):
            table.add_column(heading, justify="left" if heading in ("step", "state") else "right")
        for step in self._steps:
            name = step.name
            reached = self._reached.get(name)
            if name in outcomes:
                state = {None: "done", WAITS: "skipped"}.get(outcomes[name], "failed")
                seconds = self._took.get(name)
            elif name in self._since:
                state, seconds = "running", now - self._since[name]
            else:
                state, seconds = "waiting", None
            most = step.trainer.get("max_epochs")
            table.add_row(
                name,
                state,
                "" if reached is None else f"{reached.epoch + 1}{f'/{most}' if most else ''}",
                "" if reached is None else f"{reached.loss:.4g}",
                "" if seconds is None else _clock(seconds),
                self._left(name, now) if state == "running" else "",
            )
        return table

    def _left(self, name: str, now: float) -> str:
        """Time that a training will still take at the pace since it was first seen."""
        if (reached := self._reached.get(name)) is None or reached.steps is None:
            return ""
        since, first = self._first[name]
        if reached.step <= first:
            return ""
        return _clock((reached.steps - reached.step) * (self._read - since) / (reached.step - first))


def log_of(logs: Path, name: str) -> Path:
    """Where the process of a step writes what it says."""
    return logs / f"{name.replace('/', '-')}.txt"


def how_far(stage: Path, trainer: Mapping[str, Any]) -> Reached | None:
    """From `metrics.csv`, None while nothing is there; its last line may be half written."""
    try:
        table = pd.read_csv(stage / "metrics.csv", on_bad_lines="skip")
        rows = table[["epoch", "step", "train/loss"]].dropna()
        last = rows.iloc[-1]
        epoch, step, loss = int(last["epoch"]), int(last["step"]), float(last["train/loss"])
        begins = int(table.loc[table["epoch"] == epoch, "step"].min())
    except (OSError, ValueError, KeyError, IndexError):
        return None
    if (trainer.get("max_steps") or -1) > 0:
        return Reached(epoch, step, loss, int(trainer["max_steps"]))
    most = trainer.get("max_epochs")
    return Reached(epoch, step, loss, round(begins / epoch * most) if epoch and most else None)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
