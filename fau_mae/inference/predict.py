"""`fau-mae detect`: a checkpoint as the prediction function of the detector."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from data_modules.errors import UserError
from fau_mae.inference.detect import detect_files
from fau_mae.run_folder import fold_folder, last_checkpoint
from fau_mae.weights.checkpoints import load_au_model

DEFAULT_CHECKPOINT = last_checkpoint(fold_folder(Path("runs/quickstart"), 1, 0) / "student")


def detect_with_checkpoint(inputs: Sequence[Path], out: Path, checkpoint: Path | None) -> int:
    """Faces of `inputs` -> `out/aus.csv` and overlay pictures, read by `checkpoint`; every token counts as visible.

    Returns the exit code: 1 where some inputs could not be read.
    """
    if checkpoint is None and not DEFAULT_CHECKPOINT.is_file():
        raise UserError(
            f"no --checkpoint given and {DEFAULT_CHECKPOINT} is not there: run `fau-mae run quickstart` first"
        )
    loaded = load_au_model(checkpoint or DEFAULT_CHECKPOINT)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = loaded.model.to(device)

    @torch.inference_mode()
    def predict(crops: Tensor) -> Tensor:  # (B, 3, H, W) uint8 -> (B, A)
        return model(crops.to(device)).logits.sigmoid().cpu()

    faces = loaded.about.faces
    summary = detect_files(
        inputs, out, predict, loaded.aus, faces.image_size, preset=faces.preset, device=device
    )
    print(f"{out / 'aus.csv'}: {summary.faces} faces in {summary.frames} frames of {summary.files} files")
    for line in summary.unreadable:
        print(f"left out: {line}", file=sys.stderr)
    return 1 if summary.unreadable else 0
