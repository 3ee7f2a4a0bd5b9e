"""Occluded copies of a folder of face crops, with their masks: the benchmark for models that are not ours.

Layout of the output: `KIND/SEVERITY/NAME.png` and `KIND/SEVERITY/NAME.mask.png` (white = visible), and
`manifest.csv` with one row per picture.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track

from data_modules import files
from data_modules.errors import UserError, shown
from data_modules.faces.pictures import PICTURES, read_picture
from data_modules.occlusion.apply import KINDS, check_spec, donor_of, occlude
from data_modules.occlusion.objects import Cutout, load_objects
from data_modules.occlusion.spec import LADDER, PROTOCOL_VERSION, OcclusionSpec
from data_modules.sources.media import fault_of, find_media, first_of, said
from data_modules.stores.store import encode_image, sample_id

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


class Occluded(NamedTuple):
    """What `occlude_files` did: occluded copies written, and of how many pictures.

    `left_out`: one line per picture that could not be read. `other`: reason -> files of the folder that are left out
    because they are no pictures, hidden, or read already.
    """

    written: int
    pictures: int
    left_out: tuple[str, ...]
    other: Mapping[str, int]


class _Face(NamedTuple):
    name: Path  # below the source
    image: np.ndarray  # (H, W, 3) uint8 RGB
    donor: Callable[[OcclusionSpec, int], np.ndarray]  # spec, sample id -> picture of another face


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
) -> Occluded:
    """Write occluded copies of every picture of `source` (a picture or a folder) to the new folder `out`.

    Pictures are taken as aligned face crops. A face's masks depend on its path below `source`, so the same
    folder gives the same masks everywhere; `hidden` in the manifest is the exact hidden share. Donors, where
    needed, are other pictures of the folder. Pictures that cannot be read are left out and named. Raises `UserError`
    for an unknown kind, a severity outside 0-1, no readable picture, or an `out` that is not empty.
    """
    for kind in kinds:
        for severity in severities:
            check_spec(OcclusionSpec(kind, severity, seed))
    cutouts = load_objects(objects) if objects else ()
    files.check_folder(out)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{shown(out)} exists already: choose a new folder for --out")
    pictures, left_out, other = _pictures(source, out)
    specs = [OcclusionSpec(kind, severity, seed) for kind in kinds for severity in severities]
    written = read = 0
    with files.folder_aside(out) as part, files.table_writer(part / "manifest.csv", COLUMNS) as write:
        for number, path in enumerate(track(pictures, "Occluding", disable=not progress)):
            name = path.relative_to(source) if source.is_dir() else Path(path.name)
            try:
                face = _Face(name, read_picture(path), partial(_read_donor, pictures, number))
                for suffix in (".png", ".mask.png"):
                    if len(os.fsencode(name.name + suffix)) > files.LONGEST_NAME:
                        raise UserError(f"{shown(path)} has too long a name: {suffix} is to be added")
            except UserError as error:
                left_out.append(str(error))
                continue
            for spec in specs:
                write(_occlude(part, face, spec, fill, grid, cutouts).values())
                written += 1
            read += 1
        if not read:
            raise UserError(first_of(left_out))
    return Occluded(written, read, tuple(left_out), other)


def _occlude(
    part: Path, face: "_Face", spec: OcclusionSpec, fill: str, grid: int, cutouts: Sequence[Cutout]
) -> dict[str, object]:
    """Occlude one picture, write it and its mask -> its row of the manifest, in the order of `COLUMNS`."""
    key = sample_id("files", shown(face.name.as_posix()), "", 0)
    donor = face.donor(spec, key) if fill == "donor" or KINDS[spec.kind].needs == "donor" else None
    image, visible = occlude(face.image, spec, key, grid=grid, fill=fill, donor=donor, objects=cutouts)
    folder = Path(spec.kind) / f"{spec.severity:g}"
    picture = folder / f"{face.name.as_posix()}.png"
    mask = folder / f"{face.name.as_posix()}.mask.png"
    files.write_bytes(part / picture, encode_image(image, "png"))
    files.write_bytes(part / mask, cv2.imencode(".png", visible.astype(np.uint8) * 255)[1].tobytes())
    return {
        "sample_id": key,
        "source": face.name.as_posix(),
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


def _read_donor(pictures: list[Path], number: int, spec: OcclusionSpec, key: int) -> np.ndarray:
    """The picture of another face for picture `number`: the one that is drawn or, where it cannot be read, the next."""
    first = int(donor_of(spec, key, number, np.arange(len(pictures))))
    for place in range(first, first + len(pictures)):
        with contextlib.suppress(UserError):
            return read_picture(pictures[place % len(pictures)])
    raise UserError("no picture can be read")


def _pictures(source: Path, out: Path) -> tuple[list[Path], list[str], Mapping[str, int]]:
    """The pictures of a folder and its subfolders by name, or the one given; see `find_media`.

    With a line for each that cannot be read, and how many are left out as being of another kind, by reason.
    """
    if source.is_dir():
        media = find_media(source, PICTURES, aside=out)
        unfit = [f"{shown(source / name)}: {reason}" for name, reason in media.unfit]
        if media.found:
            return [source / name for name in media.found], unfit, media.other
        what = f"{shown(source)} holds no picture" + (f": {said(media.other)}" if said(media.other) else "")
        raise UserError(first_of(unfit) if unfit else what)
    if not source.exists():
        raise UserError(f"{shown(source)} does not exist: give a picture or a folder of them")
    known = source.suffix.lower() in PICTURES
    fault = fault_of(source) if known else f"not a picture of a known kind ({', '.join(sorted(PICTURES))})"
    if fault:
        raise UserError(f"{shown(source)}: {fault}")
    return [source], [], {}
