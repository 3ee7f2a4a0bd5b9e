"""`metrics.csv` of a stage that was interrupted: its parts are kept, then joined."""

import os
from pathlib import Path

import pandas as pd

from data_modules.files import write_csv
from fau_mae.run_folder import read_logged

_BEGIN_ANEW = (
    "delete it and run the same command again; its curves begin anew"  # the cure of a damaged metrics.csv
)


def set_metrics_aside(out: Path) -> None:
    """Lightning's CSV logger starts an empty file; keep what an interrupted training of this stage has logged."""
    metrics = out / "metrics.csv"
    if metrics.exists() and not os.environ.get("LOCAL_RANK"):
        # A damaged one is said before the training, not when the parts are joined.
        read_logged(metrics, _BEGIN_ANEW)
        metrics.rename(out / f"metrics.part{len(list(out.glob('metrics.part*.csv')))}.csv")


def join_metrics(out: Path) -> None:
    """One metrics.csv of all parts; steps that were repeated after an interruption count once, the last time."""
    parts = [*sorted(out.glob("metrics.part*.csv")), out / "metrics.csv"]
    tables = [read_logged(part, _BEGIN_ANEW) for part in parts]
    tables = [table for table in tables if len(table)]
    if not tables:
        return
    for i, table in enumerate(tables[:-1]):
        tables[i] = table[table["step"] < min(later["step"].min() for later in tables[i + 1 :])]
    write_csv(out / "metrics.csv", pd.concat(tables, ignore_index=True))
    for part in parts[:-1]:
        part.unlink()
