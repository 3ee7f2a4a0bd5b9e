"""Occluded copies of a store's faces as our own methods are shown them: the ladder for models that are not ours.

Ids, people, folds, labels and masks are those of a `fau-mae run` on the same store, so the rows of another model stand
beside ours, face by face. Layout: `KIND/SEVERITY/ID.png` and `ID.mask.png` (white = visible), `manifest.csv` with one
row per picture, and `labels.csv`, which `fau-mae evaluate-predictions --labels` takes.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from data_modules import files
from data_modules.errors import UserError, shown
from data_modules.face_data import FaceDataModule
from data_modules.facs import au_name
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.rungs import check_fill, check_kinds, check_severities
from data_modules.occlusion.spec import PROTOCOL_VERSION, OcclusionSpec
from data_modules.stores.face_dataset import FaceDataset
from data_modules.stores.store import encode_image
from fau_mae.evaluation.ladder import rungs
from fau_mae.evaluation.occlude_files import COLUMNS
from fau_mae.evaluation.predictions import SPLITS


def occlude_store(
    store: Path,
    out: Path,
    *,
    kinds: Sequence[str],
    severities: Sequence[float],
    fill: str = "grey",
    grid: int = 0,
    fold: int = 1,
    num_folds: int = 3,
    val_share: float = 0.1,
    splits: Sequence[str] = SPLITS,
    progress: bool = True,
) -> tuple[int, int]:
    """Write the validation and test faces of one fold, whole and on every rung, to the new folder `out`.

    `grid`: cells of a side, 0 = those of a model on this store. Returns the number of pictures written, and of faces.
    Raises `UserError` for what a ladder refuses, a damaged store, and an `out` that is not empty.
    """
    check_kinds(kinds, "")
    check_severities(severities, "")
    check_fill(fill, "")
    files.check_folder(out, [store], inside=False)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{shown(out)} exists already: choose a new folder for --out")
    data = FaceDataModule(
        store,
        fold=fold,
        num_folds=num_folds,
        val_share=val_share,
        grid=grid,
        occlusion=OcclusionConfig(fill=fill),
    )
    specs = rungs(kinds, severities)
    faces = data.dataset(False)
    written = read = 0
    with (
        files.folder_aside(out) as part,
        files.table_writer(part / "manifest.csv", [*COLUMNS, "subject", "split"]) as write,
    ):
        _write_labels(data, splits, part / "labels.csv")
        for split in splits:
            for row in track(getattr(data.split, split), f"Occluding, {split}", disable=not progress):
                read += 1
                for spec in specs:
                    write([*_occlude(data, faces, int(row), spec, part), _subject(data, row), split])
                    written += 1
    return written, read


def _write_labels(data: FaceDataModule, splits: Sequence[str], path: Path) -> None:
    header = ["sample_id", "subject", "split", *map(au_name, data.aus)]
    labels, ids = data.known("labels"), data.store.column("sample_id")
    with files.table_writer(path, header) as write:
        for split in splits:
            for row in getattr(data.split, split):
                write([int(ids[row]), _subject(data, row), split, *labels[row].tolist()])


def _subject(data: FaceDataModule, row: int) -> str:
    return str(data.store.column("subject")[row])


def _occlude(
    data: FaceDataModule, faces: FaceDataset, row: int, spec: OcclusionSpec, part: Path
) -> list[object]:
    """Write one face under one occlusion -> its row of the manifest, in the order of `COLUMNS`."""
    picture, visible = faces.hidden(row, spec)
    key = int(data.store.column("sample_id")[row])
    folder = Path(spec.kind) / f"{spec.severity:g}"
    files.write_bytes(part / folder / f"{key}.png", encode_image(picture, "png"))
    mask = cv2.imencode(".png", visible.astype(np.uint8) * 255)[1].tobytes()
    files.write_bytes(part / folder / f"{key}.mask.png", mask)
    return [
        key,
        shown(data.store.path),
        spec.kind,
        spec.severity,
        round(1 - float(visible.mean()), 5),
        (folder / f"{key}.png").as_posix(),
        (folder / f"{key}.mask.png").as_posix(),
        data.occlusion.fill,
        data.grid,
        spec.seed,
        PROTOCOL_VERSION,
    ]
