"""What sums a run up: `results.parquet`, `metrics.json` (scores on validation people), `folds.csv`, `curves.png` and
`report.html` over all folds and seeds, the same to W&B, and the tables in the terminal."""

from pathlib import Path

import pandas as pd
from rich.console import Console

from data_modules.files import check_columns, reading, write_csv, write_json, write_parquet
from data_modules.stores.store import FaceStore
from fau_mae.evaluation.fold_scores import fold_scores
from fau_mae.evaluation.scored_run import FoldRun, read_results, score_run
from fau_mae.reports.figures import curve_figure
from fau_mae.reports.page import write_report
from fau_mae.reports.terminal import fold_table, macro_table, watched
from fau_mae.reports.wandb_curves import log_evaluation, validation_scores
from fau_mae.run_folder import fold_folder, last_checkpoint, trained_with
from fau_mae.runs.experiment import Experiment, stages_of
from fau_mae.runs.memory import tested_of

OUTPUTS = ("results.parquet", "folds.csv", "curves.png", "report.html", "metrics.json", "run.json")


def summarise(experiment: Experiment, out: Path, pairs: list[tuple[int, int]]) -> None:
    """Write all tables and pages of a run whose predictions are there."""
    first = experiment.first_stage()
    folds = []
    for fold, seed in pairs:
        folder = fold_folder(out, fold, seed)
        checkpoints = {
            name: ", ".join(
                str(last_checkpoint(folder / stage).relative_to(out)) for stage in stages_of(method)
            )
            for name, method in experiment.every_method().items()
        }
        folds.append(FoldRun(folder, fold, seed, checkpoints))
    store = trained_with(folds[0].folder / first)["store"]
    run = score_run(
        out,
        folds,
        experiment=experiment.name,
        dataset=FaceStore(store).info.dataset,
        threshold_rule=experiment.ladder["thresholds"],
        watch=watched("Scores"),
    )
    write_parquet(out / "results.parquet", run.results)
    write_csv(out / "folds.csv", fold_scores(run))
    curve_figure(run.results[~run.results["method"].isin(experiment.ablations)], out / "curves.png")
    write_report([run], out / "report.html")
    write_json(out / "metrics.json", validation_scores(run))
    for pair in pairs:
        log_evaluation(run, pair, tested_of(experiment))


def print_tables(out: Path) -> None:
    """The tables of a finished run, and where its report lies."""
    console = Console(width=110)
    for table in macro_table(read_results(out)):
        console.print(table)
    with reading(out / "folds.csv"):
        scores = pd.read_csv(out / "folds.csv", keep_default_na=False, na_values=[""])
        check_columns(scores, ("method", "mask_source", "kind", "metric"), ("mean", "low", "high"))
        tables = fold_table(scores)
    for table in tables:
        console.print(table)
    print(f"report: {out / 'report.html'}")
