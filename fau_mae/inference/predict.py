"""`fau-mae detect`: a checkpoint as the prediction function of the detector."""

import sys
from collections.abc import Sequence
from pathlib import Path

from data_modules.errors import UserError, shown
from data_modules.sources.media import said
from fau_mae.inference.detect import detect_files
from fau_mae.inference.predictor import load
from fau_mae.run_folder import fold_folder, last_checkpoint

DEFAULT_CHECKPOINT = last_checkpoint(fold_folder(Path("runs/quickstart"), 1, 0) / "student")


def detect_with_checkpoint(inputs: Sequence[Path], out: Path, checkpoint: Path | None) -> int:
    """Faces of `inputs` -> `out/aus.csv` and overlay pictures, read by `checkpoint`; every token counts as visible.

    Returns the exit code: 1 where some inputs could not be read.
    """
    if checkpoint is None and not DEFAULT_CHECKPOINT.is_file():
        raise UserError(
            f"no --checkpoint given and {DEFAULT_CHECKPOINT} is not there: run `fau-mae run quickstart` first"
        )
    model = load(checkpoint or DEFAULT_CHECKPOINT)
    summary = detect_files(
        inputs,
        out,
        model.probabilities,
        model.aus,
        model.image_size,
        preset=model.preset,
        device=model.device.type,
    )
    print(
        f"{shown(out / 'aus.csv')}: {summary.faces} faces in {summary.frames} frames of {summary.files} files, "
        f"{summary.overlays} overlays"
    )
    if others := said(summary.other):
        print(f"not read: {others}")
    for line in summary.unreadable:
        print(f"left out: {line}", file=sys.stderr)
    return 1 if summary.unreadable else 0
