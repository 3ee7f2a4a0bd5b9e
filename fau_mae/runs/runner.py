"""`fau-mae run`: prepare → stages × folds × seeds → occlusion sweep → results and report, resumable at any point.

On disk, under the run's folder: `store/`, `fold<k>-seed<s>/<stage>/{config.yaml, checkpoints, metrics.csv, finished}`,
`fold<k>-seed<s>/predictions/`, `fold<k>-seed<s>/evaluate/wandb`, `results.parquet`, `metrics.json` (scores on
validation people), `folds.csv`, `curves.png`, `report.html`, and `run.json`, which remembers the settings: another run
with other settings in the same folder is refused rather than mixed in.
"""

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from data_modules.errors import Stopped, UserError
from data_modules.files import read_json, read_parquet, read_yaml, write_csv, write_json, write_parquet
from data_modules.locks import locked
from fau_mae import tracking
from fau_mae.runs.experiment import Experiment, load_experiment, started_from, with_overrides
from fau_mae.runs.plan import StagePlan, dry_run, fold_folder, last_checkpoint, needs_processes, plan_stages
from fau_mae.runs.processes import run_to_its_end


def run_experiment(
    name: str,
    out: Path | None,
    store: Path | None,
    folds: list[int] | None,
    seeds: list[int] | None,
    overrides: list[str],
    root: Path | None = None,
    mae: Path | None = None,
    ablate: bool = False,
    dry: bool = False,
) -> None:
    """Do what is not done yet of an experiment, then print the tables and where the report lies.

    Args:
        name: a built-in experiment or a folder.
        out: the run's folder, `runs/NAME` by default.
        store: a store that is there already, instead of preparing one.
        folds, seeds: instead of the experiment's own.
        overrides: `KEY=VALUE` texts, see `with_overrides`.
        root: raw files of a licensed data set.
        mae: weights that stand in for the pre-training stage.
        ablate: train and sweep the experiment's ablations too.
        dry: print what there is to do and how, and do nothing.
    """
    experiment = with_overrides(load_experiment(name), overrides)
    experiment = dataclasses.replace(experiment, ablate=ablate)
    if ablate and not experiment.ablations:
        raise UserError(f"--ablate: {experiment.name} has no ablations; `synthetic` has")
    if mae is not None:
        experiment = started_from(experiment, mae)
    if root is not None:
        experiment.prepare["root"] = str(root)
    out = out or Path("runs") / experiment.name
    store_path = store or out / "store"
    pairs = [(fold, seed) for fold in folds or experiment.folds for seed in seeds or experiment.seeds]
    settings = json.loads(json.dumps({**experiment.settings(), "store": str(store) if store else None}))
    wanted = {
        "done": [list(pair) for pair in pairs],
        "ablated": sorted(experiment.ablations) if ablate else [],
    }
    finished = _remembered(out, settings) == wanted
    if dry:
        dry_run(experiment, out, store_path, pairs, store is None, finished)
        return
    agent = tracking.take_agent_run()
    if finished:
        print(f"{experiment.name}: everything is done already")
    else:
        _check_settings(experiment, out, store_path, *pairs[0])
        with locked(out, wait=True):
            _remember(out, settings, {"done": [], "ablated": []})
        if store is None:
            with locked(store_path, wait=True):
                _prepare(experiment, store_path)
        for fold, seed in pairs:
            with locked(fold_folder(out, fold, seed)):
                _run_fold(experiment, out, store_path, fold, seed)
        with locked(out, wait=True):
            _summarise(experiment, out, pairs)
            _remember(out, settings, wanted)
    _print_tables(out)
    if agent:
        tracking.log_to_agent_run(agent, out, read_json(out / "metrics.json"))
    if line := tracking.sync_line(out):
        print(line)


def _remembered(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What `out` sums up: (fold, seed) pairs and ablations; refuses a folder of other settings.

    Ablations may come and go: a run holds no more of one than its own row.
    """
    path = out / "run.json"
    if not path.is_file():
        return {}
    memory = read_json(path)
    before = memory["settings"]
    changed = set(before.get("ablations", {})) ^ set(settings["ablations"])
    for key, now in settings.items():
        if _without(before.get(key), changed) != _without(now, changed):
            raise UserError(f"{out} was made with another {key!r}: use another --out, or delete that folder")
    return {key: memory.get(key) for key in ("done", "ablated")}


def _without(value: Any, names: set[str]) -> Any:
    return {k: v for k, v in value.items() if k not in names} if isinstance(value, dict) else value


def _remember(out: Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    write_json(out / "run.json", {"settings": settings, **state})


def _check_settings(experiment: Experiment, out: Path, store: Path, fold: int, seed: int) -> None:
    """Read the settings of every stage before hours of work; raises `UserError` for one that does not parse."""
    from fau_mae.runs.lightning_cli import check_line

    for stage in plan_stages(experiment, out, store, fold, seed):
        if not stage.is_done:
            check_line(stage.line)


def _prepare(experiment: Experiment, store: Path) -> None:
    from data_modules import prepare

    if (store / "store.json").exists():
        return
    options = dict(experiment.prepare)
    source = options.pop("source")
    if source != "synthetic" and "root" not in options:
        raise UserError(f"--root is missing: the folder of {source}'s raw files, which {store} is made from")
    print(f"prepare: {source} -> {store}", flush=True)
    prepare.prepare(source, store, options)


def _run_fold(experiment: Experiment, out: Path, store: Path, fold: int, seed: int) -> None:
    """Every stage of one fold and seed that is not finished, then the sweep over its methods."""
    for stage in plan_stages(experiment, out, store, fold, seed):
        if not stage.is_done:
            print(f"{stage.folder.parent.name}: {stage.name}\n  fau-mae {shlex.join(stage.line)}", flush=True)
            _launch(stage)
    _sweep(experiment, fold_folder(out, fold, seed))


def _launch(stage: StagePlan) -> None:
    """Train in this process, or in one of its own where Lightning starts more, which repeat their command line."""
    if needs_processes(stage.line):
        code = run_to_its_end([sys.executable, "-m", "fau_mae.cli", *stage.line])
        if code > 128:
            raise Stopped(code - 128)
        if code:
            raise UserError(f"the stage ended with exit code {code}; its own message is above")
    else:
        from fau_mae.runs.lightning_cli import run_lightning

        run_lightning(stage.line)


def _sweep(experiment: Experiment, folder: Path) -> None:
    """Predictions of every method on every rung of the ladder, on the faces the first method's stage was set up for."""
    import torch

    from data_modules.face_data import FaceDataModule
    from data_modules.occlusion.config import OcclusionConfig
    from fau_mae.evaluation import methods as makers
    from fau_mae.evaluation.ladder import rungs, walk_ladder

    trained = read_yaml(folder / _first_stage(experiment) / "config.yaml")["data"]
    data = FaceDataModule.from_settings(trained, occlusion=OcclusionConfig(fill=experiment.ladder["fill"]))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    methods = []
    for name, made in experiment.compared().items():
        if isinstance(made, dict):
            methods += [
                makers.au_method(name, last_checkpoint(folder / stage), data.aus, device)._replace(
                    severity=severity
                )
                for severity, stage in made.items()
            ]
            continue
        first, *mae = (last_checkpoint(folder / stage) for stage in made)
        methods.append(
            makers.reconstruct_method(name, first, mae[0], data.aus, device)
            if mae
            else makers.au_method(name, first, data.aus, device)
        )
    specs = rungs(experiment.ladder["kinds"], experiment.ladder["severities"])
    print(f"{folder.name}: occlusion sweep, {len(methods)} methods × {len(specs)} occlusions", flush=True)
    detector = experiment.ladder.get("detector")
    estimate = makers.fitting_detector(last_checkpoint(folder / detector), data) if detector else None
    if estimate:
        methods = makers.with_blind(methods, leave_out=experiment.ablations)
    walk_ladder(methods, data, specs, folder, estimate)


def _first_stage(experiment: Experiment) -> str:
    return _stages_of(next(iter(experiment.methods.values())))[0]


def _stages_of(made: list[str] | dict[float, str]) -> list[str]:
    return list(made.values()) if isinstance(made, dict) else made


def _summarise(experiment: Experiment, out: Path, pairs: list[tuple[int, int]]) -> None:
    """results.parquet, metrics.json, folds.csv, curves.png, report.html over all folds and seeds; the same to W&B."""
    import pandas as pd

    from data_modules.stores.store import FaceStore
    from fau_mae.evaluation.fold_scores import fold_scores
    from fau_mae.evaluation.scoring import score_predictions
    from fau_mae.reports.figures import curve_figure
    from fau_mae.reports.page import write_report
    from fau_mae.reports.wandb_curves import log_evaluation, validation_scores

    tables = []
    for fold, seed in pairs:
        folder = fold_folder(out, fold, seed)
        trained = read_yaml(folder / _first_stage(experiment) / "config.yaml")
        tables.append(
            score_predictions(
                folder,
                experiment=experiment.name,
                dataset=FaceStore(trained["data"]["store"]).info.dataset,
                fold=fold,
                seed=seed,
                threshold_rule=experiment.ladder["thresholds"],
                checkpoints={
                    name: ", ".join(
                        str(last_checkpoint(folder / stage).relative_to(out)) for stage in _stages_of(made)
                    )
                    for name, made in (
                        experiment.methods | {name: [name] for name in experiment.ablations}
                    ).items()
                },
            )
        )
    results = pd.concat(tables, ignore_index=True)
    write_parquet(out / "results.parquet", results)
    write_csv(out / "folds.csv", fold_scores(out, results))
    curve_figure(results[~results["method"].isin(experiment.ablations)], out / "curves.png")
    write_report([out], out / "report.html")
    scores = validation_scores([fold_folder(out, fold, seed) for fold, seed in pairs])
    write_json(out / "metrics.json", scores)
    for fold, seed in pairs:
        own = results[(results["fold"] == fold) & (results["seed"] == seed)]
        log_evaluation(fold_folder(out, fold, seed), own, experiment.settings())


def _print_tables(out: Path) -> None:
    import pandas as pd
    from rich.console import Console

    from fau_mae.reports.terminal import fold_table, macro_table

    console = Console(width=110)
    for table in macro_table(read_parquet(out / "results.parquet")):
        console.print(table)
    for table in fold_table(pd.read_csv(out / "folds.csv", keep_default_na=False, na_values=[""])):
        console.print(table)
    print(f"report: {out / 'report.html'}")
