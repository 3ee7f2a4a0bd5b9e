"""`fau-mae detect`: which weights read the pictures, and what is hidden in them."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_modules.errors import UserError, shown
from data_modules.faces.pictures import read_picture
from data_modules.sources.media import said
from fau_mae.inference.detect import Choice, Crops, detect_files
from fau_mae.inference.predictor import Predictor, load
from fau_mae.run_folder import last_checkpoint
from fau_mae.weights.shipped import PREFIX, is_shipped

STUDENT, DETECTOR = Path(f"{PREFIX}student"), Path(f"{PREFIX}detector")
NO_DETECTOR = "none"


def detect_with_checkpoint(
    inputs: Sequence[Path],
    out: Path,
    checkpoint: Path | None = None,
    detector: str | None = None,
    mask: Path | None = None,
    device: str | None = None,
    choice: Choice = Choice(),  # noqa: B008 - frozen
) -> int:
    """Faces of `inputs` -> `out/aus.csv` and overlay pictures.

    Args:
        checkpoint: of a Teacher or Student; None = the student that comes with the package.
        detector: of hidden tokens: a checkpoint, or `none`; None = the one of the checkpoint's own run, else the one
            that comes with the package, where it fits.
        mask: a picture of what is hidden, for all inputs: black hides.
        device: `cpu`, `cuda`, …; None = a GPU where there is one.
        choice: its `mask` is read from `mask`.

    Returns the exit code: 1 where some inputs could not be read.
    """
    if mask is not None:
        choice = replace(choice, mask=read_picture(mask))
    model, note = _model(checkpoint or STUDENT, detector, device, known=mask is not None)
    crops = Crops(model.read, model.aus, model.image_size, model.grid, model.preset)
    summary = detect_files(inputs, out, crops, choice)
    print(
        f"{shown(out / 'aus.csv')}: {summary.faces} faces in {summary.frames} frames of {summary.files} files, "
        f"{summary.overlays} overlays"
    )
    if note:
        print(note)
    if others := said(summary.other):
        print(f"not read: {others}")
    for line in summary.gaps:
        print(line)
    for line in summary.unreadable:
        print(f"left out: {line}", file=sys.stderr)
    return 1 if summary.unreadable else 0


def _model(checkpoint: Path, detector: str | None, device: str | None, known: bool) -> tuple[Predictor, str]:
    """The model with its detector, and what is said where none goes with it; `known`: a mask is given."""
    if known or detector == NO_DETECTOR:
        return load(checkpoint, device, None), ""
    if detector is not None:
        return load(checkpoint, device, detector), ""
    try:
        return load(checkpoint, device, _beside(checkpoint) or DETECTOR), ""
    except UserError as error:
        model = load(checkpoint, device, None)  # what is wrong with the checkpoint itself is said by this
        return model, (
            f"no detector of hidden patches goes with {shown(checkpoint)} ({error}): every token is taken for visible; "
            "name one by --detector, or a --mask"
        )


def _beside(checkpoint: Path) -> Path | None:
    """The detector that was trained, or saved, together with a checkpoint."""
    if is_shipped(checkpoint):
        return DETECTOR
    places = [checkpoint.with_name("detector.safetensors")]
    if len(checkpoint.parents) > 2:
        places.append(last_checkpoint(checkpoint.parents[2] / "detector"))
    return next((place for place in places if place.is_file()), None)
