"""One trial of a sweep at work: `fau-mae fit` or `run` in a process of its own, resumed where it was cut off."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd

from data_modules.files import read_yaml
from fau_mae.run_folder import FINISHED, last_checkpoint, read_metrics, trained_with
from fau_mae.runs.processes import start_logged
from fau_mae.sweeps.sweep_file import Sweep, Trial, read_trial, trial_words

_NOT_OURS = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")  # of an agent around the sweep


class TrialProcess:
    """Starts what is left of a trial at once; nothing where it is over.

    Args:
        sweep: the file the trial belongs to.
        number: of the trial; its folder holds `trial.json`.
        evaluate: whether a stage is followed by the occlusion ladder on its last checkpoint.
        cwd: where the command runs, so that relative paths in the sweep file mean what they say.
    """

    def __init__(self, sweep: Sweep, number: int, evaluate: bool, cwd: Path):
        self._sweep, self._cwd = sweep, cwd
        self._trial: Trial = read_trial(sweep.folder / f"trial-{number:04d}")
        self._out = self._trial.folder / sweep.out
        self._process: subprocess.Popen | None = None
        self._steps: list[Callable[[], list[str] | None]] = []
        if not self._trial.over:
            self._trial.state = "running"
            self._trial.write()
            self._steps = [self._main_words]
            if evaluate and sweep.stage == "fit":
                self._steps.append(self._evaluation_words)
        self._since = time.monotonic()

    def advance(self) -> bool:
        """Start the next command once the last one has ended; True when nothing is left. Raises RuntimeError."""
        if self._process is not None:
            if self._process.poll() is None:
                return False
            if code := self._process.returncode:
                self._fail(f"exit code {code}")
            self._process = None
        if not self._steps:
            return True
        words = self._steps.pop(0)()
        if words is not None:
            self._process = self._launch(words)
        return False

    def values(self) -> list[float]:
        """The metric as logged so far: one value per validation of a stage, one of a whole run."""
        if self._sweep.stage == "run":
            found = read_metrics(self._out).get(self._sweep.metric)
            return [] if found is None else [float(found)]
        return logged_values(self._out, self._sweep.metric)

    def finish(self, values: list[float]) -> float:
        """Note down that the trial is finished; returns the metric's last value. Raises RuntimeError if none is."""
        if not values:
            self._fail(f"it logged no {self._sweep.metric}")
        if not self._trial.over:
            self._note("finished", values)
        return values[-1]

    def kill(self) -> None:
        """End the command and all that it started; the trial can be resumed."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _main_words(self) -> list[str] | None:
        words = trial_words(self._sweep, self._trial.parameters, self._out)
        if self._sweep.stage == "fit":
            if (self._out / FINISHED).exists():
                return None
            words += ["--ckpt_path", "last"]
        return words

    def _evaluation_words(self) -> list[str] | None:
        store = str(trained_with(self._out)["store"])
        if read_yaml(self._out / "config.yaml")["model"]["class_path"].endswith("MAEPretraining"):
            return None
        checkpoint = last_checkpoint(self._out)
        return [
            "evaluate",
            "--checkpoint",
            str(checkpoint),
            "--data",
            store,
            "--out",
            str(self._trial.folder),
        ]

    def _launch(self, words: list[str]) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
        environment["WANDB_RUN_GROUP"] = self._sweep.name
        environment["FAU_MAE_TRIAL"] = f"{self._sweep.name}/{self._trial.name}"  # see tracking.py
        return start_logged(words, self._trial.folder / "log.txt", self._cwd, environment)

    def _fail(self, reason: str) -> None:
        self._note("failed", self.values())
        raise RuntimeError(f"{self._trial.name}: {reason}; see {self._trial.folder / 'log.txt'}")

    def _note(self, state: str, values: list[float]) -> None:
        self._trial.state, self._trial.value = state, values[-1] if values else None
        self._trial.seconds = round(time.monotonic() - self._since, 1)
        self._trial.write()


def logged_values(out: Path, metric: str) -> list[float]:
    """A stage's metric, epoch by epoch, over all parts of an interrupted training; the last word on an epoch counts."""
    values: dict[int, float] = {}
    for path in [*sorted(out.glob("metrics.part*.csv")), out / "metrics.csv"]:
        with suppress(FileNotFoundError, ValueError):  # being written
            table = pd.read_csv(path)
            if metric in table:
                rows = table[["epoch", metric]].dropna()
                values |= dict(zip(rows["epoch"].astype(int), rows[metric].astype(float)))
    return [values[epoch] for epoch in sorted(values)]
