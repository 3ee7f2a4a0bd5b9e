"""Occluded copies of a folder of face crops, with their masks: the benchmark for models that are not ours.

Layout of the output: `KIND/SEVERITY/NAME.png` and `KIND/SEVERITY/NAME.mask.png` (white = visible), and
`manifest.csv` with one row per picture.
"""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from data_modules.errors import UserError
from data_modules.faces.video import PICTURES, read_picture
from data_modules.occlusion.apply import KINDS, check_spec, donor_of, occlude
from data_modules.occlusion.objects import Cutout, load_objects
from data_modules.occlusion.spec import LADDER, PROTOCOL_VERSION, OcclusionSpec
from data_modules.stores.store import sample_id

COLUMNS = (
    "sample_id",
    "source",
    "kind",
    "severity",
    "hidden",
    "picture",
    "mask",
    "fill",
    "grid",
    "seed",
    "protocol_version",
)


def occlude_files(
    source: Path,
    out: Path,
    *,
    kinds: Sequence[str],
    severities: Sequence[float] = LADDER,
    fill: str = "mean",
    grid: int = 14,
    seed: int = 0,
    objects: Path | None = None,
    progress: bool = True,
) -> int:
    """Write occluded copies of every picture of `source` (a picture or a folder) to the new folder `out`.

    Pictures are taken as aligned face crops. A face's masks depend on its path below `source`, so the same
    folder gives the same masks everywhere; `hidden` in the manifest is the exact hidden share. Donors, where
    needed, are other pictures of the folder. Returns the number of pictures written. Raises `UserError` for
    an unknown kind, a severity outside 0-1, no readable picture, or an `out` that is not empty.
    """
    for kind in kinds:
        for severity in severities:
            check_spec(OcclusionSpec(kind, severity, seed))
    cutouts = load_objects(objects) if objects else ()
    pictures = _pictures(source)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: choose a new folder for --out")
    work = out.with_name(out.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    rows: list[dict[str, object]] = []
    try:
        for number, path in enumerate(track(pictures, "Occluding", disable=not progress)):
            for kind in kinds:
                for severity in severities:
                    spec = OcclusionSpec(kind, severity, seed)
                    rows.append(_write(work, source, pictures, number, path, spec, fill, grid, cutouts))
        with (work / "manifest.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(rows)
        if out.exists():
            out.rmdir()
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return len(rows)


def _write(
    work: Path,
    source: Path,
    pictures: list[Path],
    number: int,
    path: Path,
    spec: OcclusionSpec,
    fill: str,
    grid: int,
    cutouts: Sequence[Cutout],
) -> dict[str, object]:
    """Occlude one picture, write it and its mask -> its row of the manifest."""
    name = path.relative_to(source) if source.is_dir() else Path(path.name)
    key = sample_id("files", name.as_posix(), "", 0)
    donor = None
    if fill == "donor" or KINDS[spec.kind].needs == "donor":
        donor = read_picture(pictures[donor_of(spec, key, number, np.arange(len(pictures)))])
    image, visible = occlude(
        read_picture(path), spec, key, grid=grid, fill=fill, donor=donor, objects=cutouts
    )
    folder = Path(spec.kind) / f"{spec.severity:g}"
    picture = folder / f"{name.as_posix()}.png"
    mask = folder / f"{name.as_posix()}.mask.png"
    (work / picture).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(work / picture), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(work / mask), visible.astype(np.uint8) * 255)
    return {
        "sample_id": key,
        "source": name.as_posix(),
        "kind": spec.kind,
        "severity": spec.severity,
        "hidden": round(1 - float(visible.mean()), 5),
        "picture": picture.as_posix(),
        "mask": mask.as_posix(),
        "fill": fill if KINDS[spec.kind].cells else "",
        "grid": grid,
        "seed": spec.seed,
        "protocol_version": PROTOCOL_VERSION,
    }


def _pictures(source: Path) -> list[Path]:
    """The pictures of a folder and its subfolders by name, or the one given."""
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in PICTURES)
    else:
        found = [source] if source.is_file() else []
    if not found:
        raise UserError(
            f"{source} holds no picture ({', '.join(sorted(PICTURES))}): give a picture or a folder of them"
        )
    return found
