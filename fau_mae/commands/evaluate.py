"""`fau-mae evaluate`, and for models that are not ours `occlude` and `evaluate-predictions`."""

import argparse
from pathlib import Path

from fau_mae.commands.prepare import AddCommand


def add_evaluate(commands: argparse._SubParsersAction, add_command: AddCommand) -> None:
    """Add `evaluate`: our checkpoints."""
    evaluate = add_command(commands, "evaluate", _evaluate, "the occlusion ladder for any checkpoint")
    evaluate.add_argument("--checkpoint", type=Path, required=True, help="a Teacher or Student checkpoint")
    evaluate.add_argument("--data", type=Path, required=True, help="a store")
    evaluate.add_argument(
        "--out", type=Path, required=True, help="folder for predictions and results.parquet"
    )
    evaluate.add_argument("--kinds", nargs="+", default=["patches", "block"], help="occlusions")
    evaluate.add_argument(
        "--severities", nargs="+", type=float, default=[0.1, 0.25, 0.5, 0.75, 0.9], help="hidden shares"
    )
    evaluate.add_argument(
        "--fold", type=int, default=None, help="whose test subjects are used (default: as trained, else 1)"
    )
    evaluate.add_argument(
        "--num-folds",
        type=int,
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


def _evaluate(options: argparse.Namespace) -> None:
    from fau_mae.evaluation.ladder import evaluate_checkpoint

    evaluate_checkpoint(
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
    )


def add_foreign(commands: argparse._SubParsersAction, add_command: AddCommand) -> None:
    """Add `occlude` and `evaluate-predictions`: models that are not ours."""
    occlude = add_command(
        commands, "occlude", _occlude, "occluded copies of pictures, with masks, to test other models"
    )
    occlude.add_argument("input", type=Path, help="a face crop or a folder of them")
    occlude.add_argument(
        "--out", type=Path, required=True, help="folder for pictures, masks and manifest.csv"
    )
    occlude.add_argument("--kind", nargs="+", default=["patches", "block"], help="occlusions")
    occlude.add_argument("--severity", nargs="+", type=float, default=[0.25, 0.5, 0.75], help="hidden shares")
    occlude.add_argument("--fill", default="mean", help="what hidden pixels of grid kinds show")
    occlude.add_argument("--grid", type=int, default=14, help="cells of a side of the grid kinds")
    occlude.add_argument("--objects", type=Path, default=None, help="RGBA cut-outs, for the kind `objects`")
    occlude.add_argument(
        "--seed", type=int, default=0, help="0: the protocol's masks; -1: held-out textures and shapes"
    )

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
        "--labels", type=Path, default=None, help="CSV or Parquet of labels, if not in the table"
    )
    score.add_argument("--dataset", default="unnamed", help="name for the results")
    score.add_argument("--out", type=Path, required=True, help="folder for results.parquet")


def _occlude(options: argparse.Namespace) -> None:
    from fau_mae.evaluation.occlude_files import occlude_files

    count = occlude_files(
        options.input,
        options.out,
        kinds=options.kind,
        severities=options.severity,
        fill=options.fill,
        grid=options.grid,
        objects=options.objects,
        seed=options.seed,
    )
    print(f"{options.out}: {count} pictures, their masks and manifest.csv")


def _evaluate_predictions(options: argparse.Namespace) -> None:
    from rich.console import Console

    from fau_mae.evaluation.score_table import evaluate_predictions
    from fau_mae.evaluation.scoring import macro_table

    results = evaluate_predictions(options.table, options.out, options.labels, options.dataset)
    for table in macro_table(results):
        Console(width=100).print(table)
