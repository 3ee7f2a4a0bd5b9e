"""The plates of docs/occlusion-benchmark.md: `python benchmarks/occlusion_plate.py [FOLDER]` (default: docs/images).

Rows are kinds, columns three synthetic faces, one frontal and two turned, under each severity of the ladder.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from data_modules.occlusion.apply import KINDS, occlude
from data_modules.occlusion.chart import Chart, packed_chart
from data_modules.occlusion.spec import LADDER, OcclusionSpec
from data_modules.stores.store import FaceStore
from data_modules.synthetic import prepare_synthetic

_SIZE, _TILE = 224, 92
_DONOR = 20


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        store = prepare_synthetic(Path(work) / "faces", identities=4, frames=6, size=_SIZE, seed=3, workers=1)
        grids = [name for name, kind in KINDS.items() if kind.cells and kind.needs is None]
        drawn = [name for name, kind in KINDS.items() if kind.draw and name != "objects"]
        faces = _chosen(store)
        for title, kinds in (("grid", grids), ("drawn", drawn)):
            plate = np.vstack([_row(store, kind, faces) for kind in kinds])
            path = folder / f"occlusion-{title}.jpg"
            cv2.imwrite(str(path), cv2.cvtColor(plate, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def _chosen(store: FaceStore) -> list[int]:
    """The most frontal face, and the two turned furthest to either side."""
    sines = [
        Chart(*packed_chart(store.landmarks(i), _SIZE, _SIZE, store.info.preset).tolist()).sine
        for i in range(len(store))
    ]
    return [int(np.argmin(np.abs(sines))), int(np.argmin(sines)), int(np.argmax(sines))]


def _row(store: FaceStore, kind: str, faces: list[int]) -> np.ndarray:
    """One kind on all faces under all severities, its name at the left."""
    label = np.full((_TILE, 96, 3), 255, np.uint8)
    cv2.putText(label, kind, (4, _TILE // 2 + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    tiles = [label]
    for face in faces:
        for severity in LADDER[1:]:
            image, _ = occlude(
                store.image(face),
                OcclusionSpec(kind, severity),
                face,
                grid=14,
                landmarks=store.landmarks(face),
                donor=store.image(_DONOR),
            )
            tiles.append(
                np.asarray(cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_AREA), np.uint8)
            )
    return np.hstack(tiles)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
