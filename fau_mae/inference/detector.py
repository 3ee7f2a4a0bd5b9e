"""Detector: a picture in, its faces and their action units out, with what is hidden and what is to be believed."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from data_modules.errors import UserError, shown
from data_modules.faces.alignment import Face
from data_modules.faces.detection import FaceDetector
from data_modules.faces.pictures import read_picture, size_fault
from data_modules.facs import au_name
from fau_mae.inference import table
from fau_mae.inference.detect import Choice, Crops, read_frames
from fau_mae.inference.overlay import draw_overlay
from fau_mae.inference.predictor import Reading, load


@dataclass(frozen=True)
class Detection:
    """The faces of one picture, largest first, and what was read of them.

    Args:
        image: uint8 RGB (H, W, 3).
        faces: boxes and five points, in its pixels.
        reading: probabilities, visible tokens, decisions and observability, see `Reading`.
        aus: numbers of the AUs, in the reading's order.
        preset: how the faces were cropped.
    """

    image: NDArray[np.uint8]
    faces: list[Face]
    reading: Reading
    aus: tuple[int, ...]
    preset: str

    def __len__(self) -> int:
        return len(self.faces)

    def table(self) -> pd.DataFrame:
        """One row per face, with the columns of `fau-mae detect` from `face` on, as numbers; NaN where not known."""
        columns = table.header(self.aus)[2:]
        rows = table.rows(Path(), 0, self.faces, self.reading) if self.faces else []
        return pd.DataFrame([row[2:] for row in rows], columns=columns).apply(pd.to_numeric)

    def present(self, face: int = 0) -> list[str]:
        """Names of the AUs that a face is decided to show; of hidden places none."""
        return [au_name(au) for au, there in zip(self.aus, self.reading.present[face]) if there == 1]

    def plot(self) -> Image.Image:
        """The picture with its faces marked, hidden patches tinted, and a bar per AU: `detection.plot().show()`."""
        return Image.fromarray(draw_overlay(self.image, self.faces, self.reading, self.aus, self.preset))


class Detector:
    """Finds the faces of pictures and reads them.

    Args:
        checkpoint: of a Teacher or Student.
        hidden: a checkpoint that tells hidden patches; None = every token is taken for visible.
        device: `cpu`, `cuda`, …; None = a GPU where there is one.
        min_face: shortest side of a face in pixels.
        min_score: of the face finder, 0 to 1; faces below are left out.

    Raises `UserError` for weights that are not there or do not go together.
    """

    def __init__(
        self,
        checkpoint: str | Path = "shipped:student",
        hidden: str | Path | None = "shipped:detector",
        device: str | None = None,
        min_face: int = 40,
        min_score: float = 0.0,
    ):
        self.model = load(checkpoint, device, hidden)
        model = self.model
        self._crops = Crops(model.read, model.aus, model.image_size, model.grid, model.preset)
        self._choice = Choice(min_score=min_score, min_face=min_face)
        self._finder = FaceDetector(min_face)

    def _find(self, image: NDArray[np.uint8], _: int) -> list[Face]:
        return self._finder.find(image)

    def detect(
        self, image: NDArray[np.uint8] | str | Path, mask: NDArray[np.bool_] | None = None
    ) -> Detection:
        """The faces of one picture.

        Args:
            image: uint8 RGB (H, W, 3), or a file.
            mask: (H, W) bool, True = visible, where that is known; the detector of hidden patches is then not asked.

        Raises `UserError` for a picture that cannot be read, and for arrays of another kind.
        """
        name = "the picture" if isinstance(image, np.ndarray) else shown(image)
        picture = image if isinstance(image, np.ndarray) else read_picture(Path(image))
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise UserError(f"{name} is {picture.dtype} {picture.shape}: hand in uint8 RGB (H, W, 3)")
        if fault := size_fault(picture.shape[1], picture.shape[0]):
            raise UserError(f"{name} {fault}")
        choice = self._choice
        if mask is not None:
            if mask.dtype != bool or mask.ndim != 2:
                raise UserError(f"mask is {mask.dtype} {mask.shape}: hand in bool (H, W), True = visible")
            choice = replace(choice, mask=np.repeat(np.uint8(255) * mask[..., None], 3, 2))
        (seen,) = read_frames([(0, picture)], self._find, self._crops, choice, name)
        return Detection(picture, seen.faces, seen.reading, self.model.aus, self.model.preset)
