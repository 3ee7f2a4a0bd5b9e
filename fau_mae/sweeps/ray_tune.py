"""`fau-mae sweep`: the trials of a W&B sweep file on Ray Tune, on this machine or a Ray cluster; resumable.

What resumes a sweep are its trial folders, not Ray's own snapshots: those are written now and then, are pickles, and
know nothing of a half-trained stage. Tune is given all trials each time; the finished ones report what they logged
before and end at once, so that Optuna and ASHA know of them, and a half-trained one goes on from `last.ckpt`.
"""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the trial folders are the record
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours: Tune would end as if all had been done
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the lines are ours
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from rich.console import Console
from rich.progress import Progress

from data_modules.errors import UserError
from fau_mae.engines.cluster import cluster
from fau_mae.sweeps import sweep_file
from fau_mae.sweeps.distributions import Choices, Distribution
from fau_mae.sweeps.sweep_file import Sweep, Trial
from fau_mae.sweeps.trials import TrialProcess

NOTES = ".ray-tune"  # folder of Tune's own notes in that of the sweep: nothing reads them
SCORE, EPOCH = "score", "epoch"  # what a trial reports to Tune
LONG = 1_000_000  # more epochs than any training has: hyperband's rungs have no upper end in W&B


def run_trials(sweep: Sweep, address: str | None, cpus: float, gpus: float | None, evaluate: bool) -> None:
    """Run what is not over yet of a sweep; every trial ends as finished, stopped or failed in its `trial.json`.

    Args:
        sweep: a checked file; its folder must be one that every machine of the cluster sees.
        address: of a Ray cluster ("auto": the one this machine belongs to); None = a private one on this machine.
        cpus, gpus: of one trial; gpus None = one if the cluster has any.
        evaluate: whether a trial of one stage is followed by the occlusion ladder.
    """
    with cluster(address), _own_notes(sweep.folder / NOTES):
        logging.getLogger("ray.tune").setLevel(
            logging.CRITICAL
        )  # what went wrong stands in the trial's log.txt
        there = ray.cluster_resources()
        if gpus is None:
            gpus = 1 if there.get("GPU") else 0
        for name, wanted, kind in (("--cpus-per-trial", cpus, "CPU"), ("--gpus-per-trial", gpus, "GPU")):
            if address is None and wanted > there.get(kind, 0):
                raise UserError(f"{name} {wanted:g}: this machine has {there.get(kind, 0):g}")
        number, space, search = _plan(sweep)
        trainable = tune.with_parameters(TrialRun, sweep=sweep, evaluate=evaluate, cwd=Path.cwd())
        with Progress(console=Console(), transient=True) as progress:
            tuner = tune.Tuner(
                tune.with_resources(trainable, {"cpu": cpus, "gpu": gpus}),
                param_space=space,
                tune_config=tune.TuneConfig(
                    metric=SCORE,
                    mode="max" if sweep.maximize else "min",
                    search_alg=search,
                    num_samples=number,
                    scheduler=_scheduler(sweep),
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=NOTES,
                    storage_path=str(sweep.folder),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    verbose=0,
                    callbacks=[_Watch(sweep, progress)],
                ),
            )
            tuner.fit()


@contextmanager
def _own_notes(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plan(sweep: Sweep) -> tuple[int, dict[str, Any], OptunaSearch | None]:
    """Number of samples, search space and search algorithm; trials known beforehand are noted down."""
    known = sweep_file.read_trials(sweep.folder)
    if sweep.method == "bayes":
        return max(sweep.run_cap or 0, len(known)), {}, _Bayes(sweep, known)
    wanted = sweep_file.grid(sweep) if sweep.method == "grid" else sweep_file.draw(sweep)
    for number in range(len(known), len(wanted)):
        sweep_file.create_trial(sweep.folder, number, wanted[number])
    return 1, {"number": tune.grid_search(list(range(max(len(known), len(wanted)))))}, None


def _scheduler(sweep: Sweep) -> TrialScheduler:
    if sweep.patience is None:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr=EPOCH,
        max_t=LONG,
        grace_period=sweep.patience["first"],
        reduction_factor=sweep.patience["factor"],
    )


class _Bayes(OptunaSearch):
    """Optuna's suggestions, each noted down as a trial before it starts; known trials are suggested again first.

    Optuna sees numbers as their share between 0 and 1 (`Distribution.at`), and weighted choices, too, so that it
    starts from what the file says; choices that are alike go to it by their place, as it compares lists badly.
    """

    def __init__(self, sweep: Sweep, known: list[Trial]):
        self._folder, self._number, self._parameters = sweep.folder, 0, sweep.parameters
        points = [{n: self._seen(n, value) for n, value in trial.parameters.items()} for trial in known]
        space = {
            name: tune.choice(list(range(len(p.choices)))) if _alike(p) else tune.uniform(0.0, 1.0)
            for name, p in sweep.parameters.items()
        }
        super().__init__(
            space=self.convert_search_space(space),
            metric=SCORE,
            mode="max" if sweep.maximize else "min",
            points_to_evaluate=points,
            seed=len(known),
        )

    def _seen(self, name: str, value: Any) -> int | float:
        parameter = self._parameters[name]
        return parameter.choices.index(value) if _alike(parameter) else parameter.share(value)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        suggested = super().suggest(trial_id)
        if suggested is None:
            return None
        values = {
            name: p.choices[suggested[name]] if _alike(p) else p.at(suggested[name])
            for name, p in self._parameters.items()
        }
        if not (self._folder / f"trial-{self._number:04d}" / "trial.json").is_file():
            sweep_file.create_trial(self._folder, self._number, values)
        self._number += 1
        return {"number": self._number - 1}


def _alike(parameter: Distribution) -> TypeGuard[Choices]:
    """Whether a parameter is one of several values without probabilities."""
    return isinstance(parameter, Choices) and not parameter.weighted


class TrialRun(tune.Trainable):
    """One trial as Tune sees it: each value of the metric is one step."""

    def setup(  # type: ignore[override]
        self, config: dict[str, Any], sweep: Sweep, evaluate: bool, cwd: Path
    ) -> None:
        self._start = lambda number: TrialProcess(sweep, number, evaluate, cwd)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._process, self._shown = self._start(new_config["number"]), 0
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the metric's next value or the trial's end. Raises RuntimeError where the trial failed."""
        while True:
            over = self._process.advance()
            values = self._process.values()
            if len(values) > self._shown:
                self._shown += 1
                return {SCORE: values[self._shown - 1], EPOCH: self._shown}
            if over:
                return {SCORE: self._process.finish(values), EPOCH: self._shown, "done": True}
            time.sleep(0.3)

    def cleanup(self) -> None:
        if process := getattr(self, "_process", None):
            process.kill()


class _Watch(tune.Callback):
    """One line per trial that ends, and the note that Tune stopped one early."""

    def __init__(self, sweep: Sweep, progress: Progress):
        self._sweep, self._progress = sweep, progress
        known = sweep_file.read_trials(sweep.folder)
        self._over = {trial.number for trial in known if trial.over}
        total = max(len(known), sweep.run_cap or 0)
        self._task = progress.add_task(sweep.name, total=total)
        progress.console.print(f"{sweep.name}: {len(self._over)} of {total} trials are done; {sweep.folder}")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_progress": None}  # Tune pickles its callbacks; it never loads these

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._tell(trial.config["number"], trial.last_result)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._tell(trial.config["number"], {})

    def _tell(self, number: int, result: dict[str, Any]) -> None:
        trial = sweep_file.read_trial(self._sweep.folder / f"trial-{number:04d}")
        if trial.state == "running":
            trial.state, trial.value = "stopped", result.get(SCORE)
            trial.seconds = round(result.get("time_total_s", 0.0), 1)
            trial.write()
        self._progress.advance(self._task)
        if number in self._over:
            return
        value = "" if trial.value is None else f" {self._sweep.metric} {trial.value:.4g}"
        log = f"; see {trial.folder / 'log.txt'}" if trial.state == "failed" else ""
        settings = " ".join(f"{name}={value}" for name, value in trial.parameters.items())
        self._progress.console.print(f"{trial.name} {trial.state}{value}  {settings}{log}", soft_wrap=True)
