"""What an occlusion costs, against decoding the face's JPEG: `python benchmarks/occlusion.py`.

Both are timed in turns on one core, in CPU time, so that other load on the machine hurts both alike; the
median of the ratio over faces counts. The decoder is the one that `FaceDataModule` reads stores with.
Targets: grid kinds below 0.25, drawn kinds below 2 decodes at 224².
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from skimage import data, transform

from data_modules.facs import CANONICAL_POINTS
from data_modules.occlusion.apply import KINDS, occlude
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.objects import Cutout
from data_modules.occlusion.spec import LADDER, OcclusionSpec
from data_modules.stores.store import decode_image, encode_image


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=224, help="pixels of a side (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=60, help="faces per kind (default: %(default)s)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    face = _face(options.size)
    encoded = encode_image(face, "jpeg95")
    print(f"{options.size}² JPEG, {len(encoded)} bytes; medians over {options.rounds} faces x the ladder")
    print(f"{'kind':<14}{'fill':<8}{'µs':>7}{'decodes':>9}")
    for name, kind in KINDS.items():
        for fill in FILLS if kind.cells and name == "patches" else ("mean",):
            cost, ratio = _measure(face, encoded, name, fill, options.rounds)
            print(f"{name:<14}{fill if kind.cells else '':<8}{cost * 1e6:>7.0f}{ratio:>9.2f}")


def _measure(face: np.ndarray, encoded: bytes, kind: str, fill: str, rounds: int) -> tuple[float, float]:
    """Median CPU seconds of one occlusion, and median of its ratio to one JPEG decode."""
    saliency, donor, objects = np.random.default_rng(0).random((14, 14)), face[::-1].copy(), (_cutout(),)
    landmarks = _landmarks(len(face))
    costs, ratios = [], []
    for sample_id in range(-2, rounds):  # the first two warm up
        for severity in LADDER[1:]:
            spec = OcclusionSpec(kind, severity)

            def apply(spec: OcclusionSpec = spec, sample_id: int = sample_id) -> None:
                occlude(
                    face,
                    spec,
                    sample_id,
                    grid=14,
                    landmarks=landmarks,
                    fill=fill,
                    donor=donor,
                    saliency=saliency,
                    objects=objects,
                )

            apply()  # paints the texture tile, which later faces share
            cost, decode = _seconds(apply), _seconds(lambda: decode_image(encoded))
            if sample_id >= 0:
                costs.append(cost)
                ratios.append(cost / decode)
    return statistics.median(costs), statistics.median(ratios)


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _face(size: int) -> np.ndarray:
    """A public-domain portrait, cropped to the face."""
    crop = transform.resize(data.astronaut()[20:220, 125:325], (size, size), anti_aliasing=True)
    return np.round(crop * 255).astype(np.uint8)


def _landmarks(size: int) -> np.ndarray:
    """68 points with eyes, nose and mouth where alignment puts them, as stores of rendered faces have."""
    points = np.zeros((68, 2), np.float32)
    parts = ((slice(36, 42), 0), (slice(42, 48), 1), (30, 2), (48, 3), (54, 4))
    for which, part in parts:
        points[which] = np.array(CANONICAL_POINTS[part]) * size
    return points


def _cutout() -> Cutout:
    rgba = np.full((120, 160, 4), 200, np.uint8)
    rgba[..., 3] = cv2.ellipse(np.zeros((120, 160), np.uint8), (80, 60), (70, 45), 20, 0, 360, 255, -1)
    return Cutout.of(rgba)


if __name__ == "__main__":
    main()
