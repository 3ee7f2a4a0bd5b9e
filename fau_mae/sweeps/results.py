"""What a sweep leaves: the long results table of all trials, a summary ranked by the sweep's metric."""

import json
import shlex
from typing import Any

import pandas as pd
import wandb
from rich.console import Console
from rich.table import Table

from data_modules.errors import UserError
from data_modules.files import write_bytes, write_csv, write_parquet
from fau_mae import tracking
from fau_mae.evaluation.scored_run import read_results
from fau_mae.sweeps.figures import heat_map, picture_of, trained_on
from fau_mae.sweeps.sweep_file import Sweep, Trial, read_trials, trial_words
from fau_mae.tracking import sync_line

SHOWN = 10  # trials in the terminal's table


def summarise(sweep: Sweep) -> None:
    """Write `results.parquet` and `summary.csv` and print the best. Raises `UserError` if a trial failed.

    `results.parquet` holds the rows of every trial's own table plus `trial` and one column per parameter (lists as
    JSON). The ranking is by the sweep's metric, which is measured on validation people, never on these test rows.
    """
    trials = read_trials(sweep.folder)
    tables = [
        read_results(trial.folder).assign(trial=trial.name, **_columns(trial.parameters))
        for trial in trials
        if (trial.folder / "results.parquet").exists()
    ]
    if tables:
        together = pd.concat(tables, ignore_index=True)
        write_parquet(sweep.folder / "results.parquet", together)
        _picture(sweep, together)
    summary = summary_table(sweep, trials)
    write_csv(sweep.folder / "summary.csv", summary)
    Console(width=110).print(_shown(sweep, summary))
    print(f"{sweep.folder}: summary.csv" + (", results.parquet" if tables else ""))
    finished = summary[summary["state"] == "finished"]
    if len(finished):
        best = next(trial for trial in trials if trial.name == finished.iloc[0]["trial"])
        words = trial_words(sweep, best.parameters, sweep.folder / "best" / sweep.out)
        print(f"to repeat the best, {best.name}: fau-mae {shlex.join(words)}")
    if line := sync_line(sweep.folder):
        print(line)
    if failed := [trial for trial in trials if trial.state == "failed"]:
        raise UserError(
            f"{len(failed)} of {len(trials)} trials failed, first {failed[0].name}: see "
            f"{failed[0].folder / 'log.txt'}; the same command tries them again"
        )


def _picture(sweep: Sweep, table: pd.DataFrame) -> None:
    """What was trained on × tested on, beside the table and on W&B, where trials differ in that; once."""
    if (cells := trained_on(table)) is None:
        return
    path, drawn = sweep.folder / "trained-on-tested-on.png", picture_of(heat_map(cells), "png")
    if path.is_file() and path.read_bytes() == drawn:
        return
    write_bytes(path, drawn)
    if tracking.mode() != "disabled":
        with tracking.sweep_run(sweep.folder, sweep.name) as logged:
            logged.log({"occlusion/trained_on_tested_on": wandb.Image(str(path))})
            logged.log({"occlusion/trained_on": wandb.Table(dataframe=cells)})


def summary_table(sweep: Sweep, trials: list[Trial]) -> pd.DataFrame:
    """One row per trial, best first: trial, state, the metric, seconds, one column per parameter."""
    rows = [
        {
            "trial": t.name,
            "state": t.state,
            sweep.metric: t.value,
            "seconds": t.seconds,
            **_columns(t.parameters),
        }
        for t in trials
    ]
    return pd.DataFrame(rows).sort_values(
        sweep.metric, ascending=not sweep.maximize, na_position="last", kind="stable"
    )


def _columns(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(v) if isinstance(v, list | dict) else v for name, v in parameters.items()}


def _shown(sweep: Sweep, summary: pd.DataFrame) -> Table:
    table = Table(title=f"{sweep.name}: {len(summary)} trials", box=None, header_style="bold", pad_edge=False)
    # What sets trials apart; long dotted names by their last part.
    parameters = [name for name in sweep.parameters if summary[name].astype(str).nunique() > 1]
    for name in ("trial", "state", sweep.metric, "seconds", *parameters):
        table.add_column(name.split(".")[-1])
    for row in summary.head(SHOWN).to_dict("records"):
        value = "–" if pd.isna(row[sweep.metric]) else f"{row[sweep.metric]:.4f}"
        cells = [_cell(row[name]) for name in parameters]
        table.add_row(row["trial"], row["state"], value, f"{row['seconds']:.0f}", *cells)
    return table


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
