"""`fau-mae run`: prepare → stages × folds × seeds → occlusion ladder → results and report, resumable at any point.

What a run leaves, see `fau_mae.run_folder`; its tables, see `fau_mae.runs.summary`. `run.json` remembers what the run
was asked for: another run whose stages would be trained otherwise is refused rather than mixed in, while another ladder
or other methods cost their own predictions alone.
"""

import dataclasses
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_modules.errors import Stopped, UserError
from data_modules.files import check_file, remove_folder
from data_modules.locks import locked
from fau_mae.run_folder import (
    FINISHED,
    RunMemory,
    fold_folder,
    last_checkpoint,
    read_metrics,
    targets_folder,
    trained_with,
    write_memory,
)
from fau_mae.runs import schema
from fau_mae.runs.experiment import Experiment, load_experiment, started_from
from fau_mae.runs.made_by import keep_what_fits, stands
from fau_mae.runs.memory import remembered, tested_of, training_of
from fau_mae.runs.overrides import effective, with_overrides
from fau_mae.runs.plan import StagePlan, dry_run, plan_stage, plan_stages
from fau_mae.runs.processes import run_to_its_end

PUBLISHED_FOLDS = 3  # of BP4D and DISFA


@dataclass(frozen=True)
class Request:
    """What `fau-mae run` was asked for.

    `experiment`: a built-in name or a folder. `out`: the run's folder, `runs/NAME` by default. `store`: one that is
    there already, instead of preparing it. `folds`, `seeds`: instead of the experiment's own. `overrides`: `--set`
    texts. `root`: raw files of a licensed data set. `mae`: weights that stand in for the pre-training stage. `ablate`:
    train and test the ablations too. `stage`: this one alone.
    """

    experiment: str
    out: Path | None = None
    store: Path | None = None
    folds: list[int] | None = None
    seeds: list[int] | None = None
    overrides: list[str] = field(default_factory=list)
    root: Path | None = None
    mae: Path | None = None
    ablate: bool = False
    stage: str | None = None

    def given(self) -> dict[str, Any]:
        """The command line as it was typed, for `run.json`; `--stage` is a step of the same run."""
        values = dataclasses.asdict(self)
        del values["out"], values["stage"]
        values["set"] = values.pop("overrides")
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def run_experiment(request: Request, dry: bool = False) -> None:
    """Do what is not done yet of an experiment, then print the tables and where the report lies.

    With `dry`, print what there is to do and how, and do nothing. Raises `UserError` before any work for whatever
    could be found wrong only after it.
    """
    experiment = _experiment(request)
    out = request.out or Path("runs") / experiment.name
    store = request.store or out / "store"
    pairs = [(fold, seed) for fold in experiment.folds for seed in experiment.seeds]
    _check_folds(experiment, store)
    training, tested = training_of(experiment, request.store), tested_of(experiment)
    memory = remembered(out, experiment, training)
    ablated = sorted(experiment.ablations) if request.ablate else []
    sums_up = {"done": [list(pair) for pair in pairs], "ablated": ablated}
    finished = memory is not None and all(
        getattr(memory, key) == value for key, value in (sums_up | {"tested": tested}).items()
    )
    finished = finished and stands(out)
    if dry:
        from fau_mae.runs.people import check_people

        _check_settings(experiment, out, store, pairs, request.stage)
        check_people(experiment, store)
        dry_run(experiment, out, store, pairs, request.store is None, finished, request.stage)
        return
    now = RunMemory(experiment.name, request.given(), training, tested, sorted(experiment.ablations))
    if request.stage:
        same = memory is not None and memory.tested == tested
        kept: dict[str, Any] = {}
        if memory is not None and same:
            kept = {"done": memory.done, "ablated": memory.ablated, "given": memory.given}
        _train_alone(experiment, request.stage, out, store, pairs, dataclasses.replace(now, **kept))
        return
    _do_all(experiment, out, store, pairs, None if finished else now, sums_up)


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
    known = experiment.every_stage()
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


def _do_all(
    experiment: Experiment,
    out: Path,
    store: Path,
    pairs: list[tuple[int, int]],
    now: RunMemory | None,
    sums_up: dict[str, Any],
) -> None:
    """Everything that is not done, then the tables; `now` is None where all is done."""
    from fau_mae import tracking
    from fau_mae.runs.people import check_people
    from fau_mae.runs.summary import OUTPUTS, print_tables, summarise

    agent = tracking.take_agent_run()
    if now is None:
        print(f"{experiment.name}: everything is done already")
    else:
        for name in OUTPUTS:
            check_file(out / name)
        _check_source(experiment, out, store)
        _check_settings(experiment, out, store, pairs)
        check_people(experiment, store)
        with locked(out, wait=True):
            write_memory(out, now)
        _prepare(experiment, out, store)
        for fold, seed in pairs:
            with locked(fold_folder(out, fold, seed)):
                for stage in plan_stages(experiment, out, store, fold, seed):
                    _train(stage)
                remove_folder(targets_folder(out, fold, seed))
                _test(experiment, fold_folder(out, fold, seed))
        with locked(out, wait=True):
            summarise(experiment, out, pairs)
            write_memory(out, dataclasses.replace(now, **sums_up))
    print_tables(out)
    if agent:
        tracking.log_to_agent_run(agent, out, read_metrics(out))
    if line := tracking.sync_line(out):
        print(line)


def _train_alone(
    experiment: Experiment,
    name: str,
    out: Path,
    store: Path,
    pairs: list[tuple[int, int]],
    now: RunMemory,
) -> None:
    """`--stage`: that one of every fold and seed. Raises `UserError` where what it takes is not trained."""
    from fau_mae import tracking
    from fau_mae.runs.people import check_people

    plans = [plan_stage(experiment, name, out, store, fold, seed) for fold, seed in pairs]
    for plan in plans:
        for source, folder in plan.takes.items():
            if not plan.is_done and not (folder / FINISHED).exists():
                raise UserError(
                    f"{name} takes {source}, which is not trained in {folder.parent}: first "
                    f"`fau-mae run {experiment.reference} --stage {source}`, with the same options"
                )
    _check_source(experiment, out, store)
    _check_settings(experiment, out, store, pairs, name)
    check_people(experiment, store)
    with locked(out, wait=True):
        write_memory(out, now)
    _prepare(experiment, out, store)
    for plan in plans:
        if plan.is_done:
            print(f"{plan.folder.parent.name}: {name} is done already")
        with locked(plan.folder.parent):
            _train(plan)
    if line := tracking.sync_line(out):
        print(line)


def _check_source(experiment: Experiment, out: Path, store: Path) -> None:
    """Refuse a store that is neither there nor can be made."""
    if (store / "store.json").exists():
        return
    if store != out / "store":
        raise UserError(f"--store {store} holds no store: `fau-mae prepare` makes one")
    source = experiment.prepare["source"]
    if source != "synthetic" and "root" not in experiment.prepare:
        raise UserError(f"--root is missing: the folder of {source}'s raw files, which {store} is made from")


def _check_settings(
    experiment: Experiment, out: Path, store: Path, pairs: list[tuple[int, int]], only: str | None = None
) -> None:
    """Try the settings of every stage that is to be trained, before hours of work; raises `UserError`.

    All stages in the first fold, and in each further fold the one that makes the first method: people and labels are
    other ones there.
    """
    from fau_mae.runs.lightning_cli import check_line

    names = [only] if only else list(experiment.trained())
    for place, fold in enumerate(dict.fromkeys(fold for fold, _ in pairs)):
        for name in names if not place or only else [experiment.first_stage()]:
            plan = plan_stage(experiment, name, out, store, fold, pairs[0][1])
            if not plan.is_done:
                check_line(plan.line)


def _prepare(experiment: Experiment, out: Path, store: Path) -> None:
    """The store, unless one was given or is there."""
    from data_modules import prepare
    from fau_mae.runs.people import check_people

    if store != out / "store" or (store / "store.json").exists():
        return
    options = dict(experiment.prepare)
    source = options.pop("source")
    with locked(store, wait=True):
        if (store / "store.json").exists():  # another run made it meanwhile
            return
        print(f"prepare: {source} -> {store}", flush=True)
        prepare.prepare(source, store, options)
    check_people(experiment, store)  # who they are is known only now, unless they were rendered


def _train(stage: StagePlan) -> None:
    if not stage.is_done:
        print(f"{stage.folder.parent.name}: {stage.name}\n  fau-mae {shlex.join(stage.line)}", flush=True)
        _launch(stage)
        if not stage.is_done:
            raise UserError(
                f"{stage.folder} was not trained in earnest: see what --set says of it (fast_dev_run, limits of 0)"
            )


def _launch(stage: StagePlan) -> None:
    """Train in this process, or in one of its own where Lightning starts more, which repeat their command line."""
    if stage.needs_processes:
        code = run_to_its_end([sys.executable, "-m", "fau_mae.cli", *stage.line])
        if code > 128:
            raise Stopped(code - 128)
        if code:
            raise UserError(f"the stage ended with exit code {code}; its own message is above")
    else:
        from fau_mae.runs.lightning_cli import run_lightning

        run_lightning(stage.line)


def _test(experiment: Experiment, folder: Path) -> None:
    """Predictions of every method on every rung of the ladder, on the faces the first method's stage was set up for."""
    import torch

    from data_modules.face_data import FaceDataModule
    from data_modules.occlusion.config import OcclusionConfig
    from fau_mae.evaluation import methods as makers
    from fau_mae.evaluation.ladder import rungs, walk_ladder

    trained = trained_with(folder / experiment.first_stage())
    data = FaceDataModule.from_settings(trained, occlusion=OcclusionConfig(fill=experiment.ladder["fill"]))
    keep_what_fits(folder, experiment, data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    methods = []
    for name, method in experiment.compared().items():
        for severity, stage in method.get("at", {}).items():
            one = makers.au_method(name, last_checkpoint(folder / stage), data.aus, device)
            methods.append(one._replace(severity=severity))
        if "reads_with" in method:
            reader = last_checkpoint(folder / method["reads_with"])
            if mae := method.get("fills_with"):
                filler = last_checkpoint(folder / mae)
                methods.append(makers.reconstruct_method(name, reader, filler, data.aus, device))
            else:
                methods.append(makers.au_method(name, reader, data.aus, device))
    specs = rungs(experiment.ladder["kinds"], experiment.ladder["severities"])
    print(f"{folder.name}: occlusion ladder, {len(methods)} methods × {len(specs)} occlusions", flush=True)
    detector = experiment.ladder.get("detector")
    estimate = makers.fitting_detector(last_checkpoint(folder / detector), data) if detector else None
    if estimate:
        methods = makers.with_blind(methods, leave_out=experiment.ablations)
    walk_ladder(methods, data, specs, folder, estimate)
