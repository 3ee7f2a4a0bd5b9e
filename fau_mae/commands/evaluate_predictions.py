"""`fau-mae evaluate-predictions`: a table of action units that another model wrote, under our protocol."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command, plain_name


def add(commands: Commands) -> None:
    """Add `evaluate-predictions` to the command line."""
    score = add_command(
        commands,
        "evaluate-predictions",
        _evaluate_predictions,
        "score another model's AU table under our protocol",
    )
    score.add_argument(
        "table", type=Path, help="CSV or Parquet of probabilities; see docs/occlusion-benchmark.md"
    )
    score.add_argument(
        "--labels",
        type=Path,
        default=None,
        help="CSV or Parquet of labels, if not in the table, such as labels.csv of `fau-mae occlude STORE`",
    )
    score.add_argument(
        "--method", type=plain_name, default="model", help="the model's name, if not in the table"
    )
    score.add_argument("--dataset", type=plain_name, default="unnamed", help="name for the results")
    score.add_argument("--out", type=Path, required=True, help="folder for results.parquet")


def _evaluate_predictions(options: argparse.Namespace) -> None:
    from rich.console import Console

    from fau_mae.evaluation.score_table import evaluate_predictions
    from fau_mae.reports.terminal import macro_table

    results = evaluate_predictions(
        options.table, options.out, options.labels, options.dataset, options.method
    )
    for table in macro_table(results):
        Console(width=100).print(table)
