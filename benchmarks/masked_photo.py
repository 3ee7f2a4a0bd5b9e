"""The picture of the README: `python benchmarks/masked_photo.py` shows `fau-mae detect` a photo, plain and masked.

The photo is NASA's portrait of Eileen Collins, in the public domain, which scikit-image brings. Its mask is drawn by
the occlusion suite, so the detector must find it itself. Cost: seconds.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from skimage.data import astronaut

from data_modules.faces.alignment import align, crop_matrix
from data_modules.faces.detection import FaceDetector
from data_modules.files import write_bytes
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.stores.store import encode_image
from fau_mae.inference.detector import Detector

SIDE = 400  # pixels of the crop that the mask is drawn in


def masked(photo: np.ndarray) -> np.ndarray:
    """The photo (H, W, 3) with a surgical mask over its face."""
    (face,) = FaceDetector().detect([photo])[0]
    matrix = crop_matrix(face, SIDE)
    points = (face.points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    worn, visible = occlude(
        align(photo, face, SIDE), OcclusionSpec("mask", 0.35), 3, grid=8, landmarks=points
    )
    back, size = cv2.invertAffineTransform(matrix), photo.shape[1::-1]
    hidden = cv2.warpAffine((~visible).astype(np.uint8), back, size)[..., None] > 0
    return np.where(hidden, cv2.warpAffine(worn, back, size), photo)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/images/detect.jpg"))
    options = parser.parse_args()
    detector, pages = Detector(), []
    with TemporaryDirectory() as folder:
        for number, photo in enumerate((masked(astronaut()), astronaut())):
            path = Path(folder) / f"{number}.png"
            write_bytes(path, encode_image(photo, "png"))
            pages.append(np.asarray(detector.detect(path).plot()))
    write_bytes(options.out, encode_image(np.concatenate(pages), "jpeg85"))
    print(options.out)


if __name__ == "__main__":
    main()
