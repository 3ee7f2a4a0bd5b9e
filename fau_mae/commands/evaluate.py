"""`fau-mae evaluate`: the occlusion ladder for one of our checkpoints."""

import argparse
from pathlib import Path

from fau_mae.commands.parser import Commands, add_command, whole


def add(commands: Commands) -> None:
    """Add `evaluate` to the command line."""
    evaluate = add_command(commands, "evaluate", _evaluate, "the occlusion ladder for any checkpoint")
    evaluate.add_argument(
        "--checkpoint", type=Path, required=True, help="a Teacher or Student checkpoint, or shipped:student"
    )
    evaluate.add_argument("--data", type=Path, required=True, help="a store")
    evaluate.add_argument(
        "--out", type=Path, required=True, help="folder for predictions and results.parquet"
    )
    evaluate.add_argument("--kinds", nargs="+", default=["patches", "block"], help="occlusions")
    evaluate.add_argument(
        "--severities", nargs="+", type=float, default=[0.1, 0.25, 0.5, 0.75, 0.9], help="hidden shares"
    )
    evaluate.add_argument(
        "--fold",
        type=whole(1),
        default=None,
        help="whose test subjects are used (default: as trained, else 1)",
    )
    evaluate.add_argument(
        "--num-folds",
        type=whole(2),
        default=None,
        help="folds of a store without published ones (likewise, else 3)",
    )
    evaluate.add_argument("--fill", default="grey", help="what hidden pixels show")
    evaluate.add_argument(
        "--detector",
        type=Path,
        default=None,
        help="an OcclusionDetector checkpoint: adds rows with its mask (blind)",
    )
    evaluate.add_argument(
        "--thresholds",
        choices=["by_visibility", "clean", "fixed"],
        default="by_visibility",
        help="where the threshold of F1 is chosen: validation faces as hidden as the test faces, "
        "clean validation faces, or .5",
    )
    evaluate.add_argument(
        "--unknown-people",
        action="store_true",
        help="test a checkpoint of an older version, which does not say whom it was trained on",
    )


def _evaluate(options: argparse.Namespace) -> None:
    from rich.console import Console

    from fau_mae.evaluation.evaluate import evaluate
    from fau_mae.reports.terminal import macro_table

    results = evaluate(
        options.checkpoint,
        options.data,
        options.out,
        kinds=options.kinds,
        severities=options.severities,
        fold=options.fold,
        num_folds=options.num_folds,
        fill=options.fill,
        threshold_rule=options.thresholds,
        detector=options.detector,
        unknown_people=options.unknown_people,
    )
    for table in macro_table(results):
        Console(width=100).print(table)
    print(f"predictions and results.parquet are in {options.out}")
