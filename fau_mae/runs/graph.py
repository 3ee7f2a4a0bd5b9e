"""A run as a graph: the steps there are, the command line of each, and which ones it waits for.

steps_of(experiment, request, out, store, pairs, finished) -> [Step, …]   in an order in which they can be done
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fau_mae.run_folder import fold_folder, fold_name
from fau_mae.runs.experiment import Experiment
from fau_mae.runs.made_by import is_made
from fau_mae.runs.overrides import effective
from fau_mae.runs.plan import plan_stage, prepare_line
from fau_mae.runs.request import LADDER, Request

STORE, RESULTS = "store", "results"
DONE = "done"


@dataclass(frozen=True)
class Step:
    """One node of the graph: the store, a stage or the ladder of one fold and seed, or the tables at the end.

    `line`: arguments of `fau-mae` that do it, or go on with it. `waits_for`: names of steps. `state`: `done`, `to do`,
    or where it goes on. `folder`: what it fills; another process on the same folder is refused. `trainer`: a stage's
    settings of the trainer, {} for other steps.
    """

    name: str
    line: list[str]
    waits_for: list[str]
    state: str
    folder: Path
    trainer: dict[str, Any]

    @property
    def is_done(self) -> bool:
        return self.state == DONE


def steps_of(
    experiment: Experiment,
    request: Request,
    out: Path,
    store: Path,
    pairs: Sequence[tuple[int, int]],
    finished: bool,
) -> list[Step]:
    """All steps of a run, or with `request.stage` those of one stage; done ones, too."""
    steps = []
    if request.store is None:
        state = DONE if (store / "store.json").exists() else "to do"
        steps.append(Step(STORE, prepare_line(experiment.prepare, store), [], state, store, {}))
    begins = [step.name for step in steps]
    for fold, seed in pairs:
        steps += _of_pair(experiment, request, out, store, fold, seed, begins)
    if request.stage is None:
        ladders = [f"{fold_name(*pair)}/{LADDER}" for pair in pairs]
        steps.append(Step(RESULTS, request.line(), ladders, DONE if finished else "to do", out, {}))
    return steps


def _of_pair(
    experiment: Experiment, request: Request, out: Path, store: Path, fold: int, seed: int, begins: list[str]
) -> list[Step]:
    steps = []
    place = fold_name(fold, seed)
    names = list(experiment.trained()) if request.stage is None else [request.stage]
    for name in names:
        if name == LADDER:
            continue
        plan = plan_stage(experiment, name, out, store, fold, seed)
        waits = [f"{place}/{source}" for source in plan.takes if source in names]
        trainer = effective(experiment.every_stage()[name]).get("trainer", {})
        line = plan.line
        steps.append(Step(f"{place}/{name}", line, waits or begins, plan.state, plan.folder, trainer))
    if request.stage in (None, LADDER):
        folder = fold_folder(out, fold, seed)
        line = request.line(folds=[fold], seeds=[seed], stage=LADDER)
        waits = [step.name for step in steps] or begins
        state = ladder_state(experiment, folder)
        steps.append(Step(f"{place}/{LADDER}", line, waits, state, folder / "predictions", {}))
    return steps


def ladder_state(experiment: Experiment, folder: Path) -> str:
    """How far the occlusion ladder of one fold and seed is."""
    if is_made(folder, experiment):
        return DONE
    files = sum(path.parent.name != "regions" for path in folder.glob("predictions/*/*/*.parquet"))
    return f"begun, {files} prediction files are there" if files else "to do"


def print_steps(name: str, out: Path, store: Path, steps: Sequence[Step], given: bool) -> None:
    """Every step with its state, what it waits for and the line that does it; nothing is written."""
    print(f"{name}: {len(steps)} steps, in {out}")
    if given:
        there = (store / "store.json").exists()
        print(f"store {store}: {DONE if there else 'given, but not there'}")
    for step in steps:
        waits = f"  (after {_shortly(step.waits_for)})" if step.waits_for and not step.is_done else ""
        print(f"{step.name.replace('/', ' ')}: {step.state}{waits}")
        print(f"    fau-mae {shlex.join(step.line)}")


def _shortly(names: Sequence[str]) -> str:
    """Names of one fold and seed by their last part."""
    places = {name.rpartition("/")[0] for name in names}
    return ", ".join(name.rpartition("/")[2] for name in names) if len(places) == 1 else ", ".join(names)


def as_json(name: str, out: Path, store: Path, steps: Sequence[Step]) -> str:
    """The graph as JSON: name, state, command and waits_for of each step."""
    nodes = [
        {"name": s.name, "state": s.state, "waits_for": s.waits_for, "command": ["fau-mae", *s.line]}
        for s in steps
    ]
    return json.dumps({"experiment": name, "out": str(out), "store": str(store), "steps": nodes}, indent=1)
