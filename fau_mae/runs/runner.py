"""`fau-mae run`: prepare → stages × folds × seeds → occlusion ladder → results and report, resumable at any point.

What a run leaves, see `fau_mae.run_folder`; its tables, see `fau_mae.runs.summary`. `run.json` remembers what the run
was asked for: another run whose stages would be trained otherwise is refused rather than mixed in, while another ladder
or other methods cost their own predictions alone.
"""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.files import check_file
from data_modules.locks import locked
from fau_mae.run_folder import FINISHED, RunMemory, fold_folder, read_metrics, write_memory
from fau_mae.runs import schema
from fau_mae.runs.experiment import Experiment, load_experiment, started_from
from fau_mae.runs.graph import RESULTS, STORE, Step, as_json, print_steps, steps_of
from fau_mae.runs.made_by import stands
from fau_mae.runs.memory import remembered, tested_of, training_of
from fau_mae.runs.overrides import effective, with_overrides
from fau_mae.runs.plan import plan_stage, plan_stages
from fau_mae.runs.request import LADDER, Request
from fau_mae.runs.steps import train, walk

PUBLISHED_FOLDS = 3  # of BP4D and DISFA
# Does stages and ladders of a run in this folder, each after those that it waits for. Raises `UserError` if one failed.
Engine = Callable[[Path, Sequence[Step]], None]


@dataclass(frozen=True)
class Run:
    """A request that was looked at: its experiment as asked for, where it lies, what there is to do.

    `memory`: what `run.json` is to say. `sums_up`: what it says beside that once the tables are made. `finished`:
    whether they are.
    """

    request: Request
    experiment: Experiment
    out: Path
    store: Path
    pairs: list[tuple[int, int]]
    memory: RunMemory
    sums_up: dict[str, Any]
    finished: bool

    def steps(self) -> list[Step]:
        """The graph, done steps and all."""
        return steps_of(self.experiment, self.request, self.out, self.store, self.pairs, self.finished)


def look_at(request: Request) -> Run:
    """Raises `UserError` for what can be seen to be wrong before any settings are tried."""
    experiment = _experiment(request)
    out = request.out or Path("runs") / experiment.name
    store = request.store or out / "store"
    pairs = [(fold, seed) for fold in experiment.folds for seed in experiment.seeds]
    _check_folds(experiment, store)
    training, tested = training_of(experiment, request.store), tested_of(experiment)
    before = remembered(out, experiment, training)
    label = request.name or (before.label if before is not None else "")
    experiment = dataclasses.replace(experiment, label=label)
    ablated = sorted(experiment.ablations) if request.ablate else []
    sums_up = {"done": [list(pair) for pair in pairs], "ablated": ablated}
    finished = before is not None and all(
        getattr(before, key) == value for key, value in (sums_up | {"tested": tested}).items()
    )
    ablations = sorted(experiment.ablations)
    memory = RunMemory(experiment.name, request.given(), training, tested, ablations, label=label)
    if request.stage and before is not None and before.tested == tested:  # a step of the same run
        memory = dataclasses.replace(memory, done=before.done, ablated=before.ablated, given=before.given)
    return Run(request, experiment, out, store, pairs, memory, sums_up, finished and stands(out))


def show_run(request: Request, as_text: bool) -> None:
    """Print what there is to do and how, as text or as JSON, and do nothing. Raises `UserError` as a run would."""
    from fau_mae.runs.people import check_people

    run = look_at(request)
    _check_sources(run)
    if request.stage != LADDER:
        _check_settings(run)
    check_people(run.experiment, run.store)
    name, steps = run.experiment.name, run.steps()
    if as_text:
        print_steps(name, run.out, run.store, steps, given=request.store is not None)
    else:
        print(as_json(name, run.out, run.store, steps))


def run_experiment(request: Request, engine: Engine | None = None) -> None:
    """Do what is not done yet of an experiment, then print the tables and where the report lies.

    `engine`: who does stages and ladders; None = this process, one after the other. Raises `UserError` before any work
    for whatever could be found wrong only after it.
    """
    # First, as it loads no torch: wrong use ends at once.
    run = look_at(request)
    from fau_mae import tracking

    if request.stage:
        begin(run)
        _prepare(run)
        _do_stage(run, engine)
        if line := tracking.sync_line(run.out):
            print(line)
    else:
        _do_all(run, engine)


def begin(run: Run) -> None:
    """Try everything that could be found wrong only after hours of work, then note down what the run is asked for."""
    from fau_mae.runs.people import check_people
    from fau_mae.runs.summary import OUTPUTS

    if not run.request.stage:
        for name in OUTPUTS:
            check_file(run.out / name)
    else:
        _check_taken(run)
    _check_source(run)
    _check_sources(run)
    if run.request.stage != LADDER:
        _check_settings(run)
    check_people(run.experiment, run.store)
    with locked(run.out, wait=True):
        write_memory(run.out, run.memory)


def _do_all(run: Run, engine: Engine | None) -> None:
    """Everything that is not done, then the tables."""
    from fau_mae import tracking
    from fau_mae.runs.summary import print_tables, summarise

    agent = tracking.take_agent_run()
    if run.finished:
        print(f"{run.experiment.name}: everything is done already")
    else:
        begin(run)
        _prepare(run)
        if engine is None:
            for fold, seed in run.pairs:
                with locked(fold_folder(run.out, fold, seed)):
                    for stage in plan_stages(run.experiment, run.out, run.store, fold, seed):
                        train(stage)
                    walk(run.experiment, run.out, fold, seed)
        else:
            _with_engine(run, engine)
        with locked(run.out, wait=True):
            summarise(run.experiment, run.out, run.pairs)
            write_memory(run.out, dataclasses.replace(run.memory, **run.sums_up))
    print_tables(run.out)
    if agent:
        tracking.log_to_agent_run(agent, run.out, read_metrics(run.out))
    if line := tracking.sync_line(run.out):
        print(line)


def _do_stage(run: Run, engine: Engine | None) -> None:
    """`--stage`: that one of every fold and seed."""
    if engine is not None:
        _with_engine(run, engine)
        return
    name = str(run.request.stage)
    for fold, seed in run.pairs:
        if name == LADDER:
            walk(run.experiment, run.out, fold, seed)
            continue
        plan = plan_stage(run.experiment, name, run.out, run.store, fold, seed)
        if plan.is_done:
            print(f"{plan.folder.parent.name}: {name} is done already")
        with locked(plan.folder.parent):
            train(plan)


def _with_engine(run: Run, engine: Engine) -> None:
    with ExitStack() as held:
        for fold, seed in run.pairs:
            held.enter_context(locked(fold_folder(run.out, fold, seed)))
        engine(run.out, [step for step in run.steps() if step.name not in (STORE, RESULTS)])


def _check_sources(run: Run) -> None:
    """Refuse stages that are done, but of other weights than the run's: they would stand beside those unnoticed."""
    for fold, seed in run.pairs:
        for plan in plan_stages(run.experiment, run.out, run.store, fold, seed):
            if run.request.stage in (None, LADDER, plan.name):
                plan.check_taken()


def _check_taken(run: Run) -> None:
    """Refuse a stage, or the ladder, of which something that it takes is not trained."""
    experiment, name = run.experiment, str(run.request.stage)
    for fold, seed in run.pairs:
        folder = fold_folder(run.out, fold, seed)
        if name == LADDER:
            takes = {source: folder / source for source in experiment.trained()}
        else:
            plan = plan_stage(experiment, name, run.out, run.store, fold, seed)
            takes = {} if plan.is_done else plan.takes
        for source, place in takes.items():
            if not (place / FINISHED).exists():
                raise UserError(
                    f"{name} takes {source}, which is not trained in {folder}: first "
                    f"`fau-mae run {experiment.reference} --stage {source}`, with the same options"
                )


def _experiment(request: Request) -> Experiment:
    """The experiment as it was asked for, checked."""
    experiment = with_overrides(load_experiment(request.experiment), request.overrides)
    experiment = dataclasses.replace(
        experiment,
        ablate=request.ablate,
        folds=request.folds or experiment.folds,
        seeds=request.seeds or experiment.seeds,
    )
    if request.ablate and not experiment.ablations:
        raise UserError(f"--ablate: {experiment.name} has no ablations; `synthetic` has")
    if request.mae is not None:
        experiment = started_from(experiment, request.mae)
    if request.root is not None:
        experiment.prepare["root"] = str(request.root)
    known = [*experiment.every_stage(), LADDER]
    if request.stage is not None and request.stage not in known:
        nearest = schema.nearest(request.stage, known)
        raise UserError(
            f"--stage: {experiment.name} has no stage {request.stage!r}: did you mean {nearest!r}?"
        )
    schema.check_run(experiment)
    return experiment


def _check_folds(experiment: Experiment, store: Path) -> None:
    """Refuse folds that the store does not have, or will not have once it is made."""
    data = effective(next(iter(experiment.every_stage().values()))).get("data", {})
    count = data.get("num_folds", 3)
    if (store / "store.json").is_file():
        from data_modules.stores.store import FaceStore

        count = max((FaceStore(store).info.parts or {"": count}).values())
    elif experiment.prepare["source"] in ("bp4d", "disfa"):
        count = PUBLISHED_FOLDS
    if isinstance(count, int) and max(experiment.folds) > count:
        raise UserError(f"folds: {max(experiment.folds)} does not exist: there are folds 1 to {count}")


def _check_source(run: Run) -> None:
    """Refuse a store that is neither there nor can be made."""
    if (run.store / "store.json").exists():
        return
    if run.store != run.out / "store":
        raise UserError(f"--store {run.store} holds no store: `fau-mae prepare` makes one")
    prepare = run.experiment.prepare
    if prepare["source"] != "synthetic" and "root" not in prepare:
        raise UserError(
            f"--root is missing: the folder of {prepare['source']}'s raw files, which {run.store} is made from"
        )


def _check_settings(run: Run) -> None:
    """Try the settings of every stage that is to be trained, before hours of work; raises `UserError`.

    All stages in the first fold, and in each further fold the one that makes the first method: people and labels are
    other ones there.
    """
    from fau_mae.runs.lightning_cli import check_line

    only = run.request.stage
    names = [only] if only else list(run.experiment.trained())
    for place, fold in enumerate(dict.fromkeys(fold for fold, _ in run.pairs)):
        for name in names if not place or only else [run.experiment.first_stage()]:
            plan = plan_stage(run.experiment, name, run.out, run.store, fold, run.pairs[0][1])
            if not plan.is_done:
                check_line(plan.line)


def _prepare(run: Run) -> None:
    """The store, unless one was given or is there."""
    from data_modules import prepare
    from fau_mae.runs.people import check_people

    store = run.store
    if store != run.out / "store" or (store / "store.json").exists():
        return
    options = dict(run.experiment.prepare)
    source = options.pop("source")
    with locked(store, wait=True):
        if (store / "store.json").exists():  # another run made it meanwhile
            return
        print(f"prepare: {source} -> {store}", flush=True)
        prepare.prepare(source, store, options)
    check_people(run.experiment, store)  # who they are is known only now, unless they were rendered
