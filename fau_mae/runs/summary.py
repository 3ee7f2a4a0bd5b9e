"""What sums a run up: `results.parquet`, `metrics.json` (scores on validation people), `folds.csv`, `curves.png` and
`report.html` over all folds and seeds, the same to W&B, and the tables in the terminal."""

from pathlib import Path

import pandas as pd
from rich.console import Console

from data_modules.files import read_parquet, read_yaml, write_csv, write_json, write_parquet
from data_modules.stores.store import FaceStore
from fau_mae.evaluation.fold_scores import fold_scores
from fau_mae.evaluation.scoring import score_predictions
from fau_mae.reports.figures import curve_figure
from fau_mae.reports.page import write_report
from fau_mae.reports.terminal import fold_table, macro_table
from fau_mae.reports.wandb_curves import log_evaluation, validation_scores
from fau_mae.run_folder import fold_folder, last_checkpoint
from fau_mae.runs.experiment import Experiment, stages_of
from fau_mae.runs.memory import tested_of


def summarise(experiment: Experiment, out: Path, pairs: list[tuple[int, int]]) -> None:
    """Write all tables and pages of a run whose predictions are there."""
    first = experiment.first_stage()
    tables = []
    for fold, seed in pairs:
        folder = fold_folder(out, fold, seed)
        trained = read_yaml(folder / first / "config.yaml")
        checkpoints = {
            name: ", ".join(
                str(last_checkpoint(folder / stage).relative_to(out)) for stage in stages_of(method)
            )
            for name, method in experiment.every_method().items()
        }
        tables.append(
            score_predictions(
                folder,
                experiment=experiment.name,
                dataset=FaceStore(trained["data"]["store"]).info.dataset,
                fold=fold,
                seed=seed,
                threshold_rule=experiment.ladder["thresholds"],
                checkpoints=checkpoints,
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
        log_evaluation(fold_folder(out, fold, seed), own, tested_of(experiment))


def print_tables(out: Path) -> None:
    """The tables of a finished run, and where its report lies."""
    console = Console(width=110)
    for table in macro_table(read_parquet(out / "results.parquet")):
        console.print(table)
    for table in fold_table(pd.read_csv(out / "folds.csv", keep_default_na=False, na_values=[""])):
        console.print(table)
    print(f"report: {out / 'report.html'}")
