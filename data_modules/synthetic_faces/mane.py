"""Hair as shells: copies of the scalp pushed outwards, each cut to strands by a noise texture.

A strand of height h covers the shells below h, so tips thin out, the hairline frays and silhouettes are
ragged.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from data_modules.synthetic_faces.assets import SKIN, load_rig
from data_modules.synthetic_faces.hair import SKULL, Hair, rise, skin_vertices

STRAND_TEXTURE = 512


@dataclass(frozen=True)
class Mane:
    """Hair as W vertices that grow from surface vertices, and T triangles."""

    triangles: np.ndarray  # (T, 3) int32
    solid: np.ndarray  # (T,) bool, False where both faces are drawn
    root: np.ndarray  # (W,) the surface vertex
    lift: np.ndarray  # (W,) decimetres along its normal
    offset: np.ndarray  # (W, 3) decimetres, added to that
    cover: np.ndarray  # (W,)
    height: np.ndarray  # (W,) 0 at the scalp, 1 at the outer shell
    strand: np.ndarray  # (W, 2) texture coordinates


@functools.cache
def strand_coordinates() -> np.ndarray:
    """Strand texture coordinates (V, 2): around the skull, and from the crown down."""
    offset = load_rig().vertices - SKULL
    around = np.arctan2(offset[:, 0], offset[:, 2]) / (2 * np.pi) + 0.5
    down = np.arccos(np.clip(offset[:, 1] / np.linalg.norm(offset, axis=1), -1, 1)) / np.pi
    return np.column_stack([around * STRAND_TEXTURE * 1.98, down * STRAND_TEXTURE * 0.9]).astype(np.float32)


@functools.cache
def strand_texture(curly: bool) -> np.ndarray:
    """Height of the strand at each place (S, S), uniform in 0-1: fine across, long along, gathered in
    locks."""
    rng = np.random.default_rng(7)
    size = STRAND_TEXTURE
    grain, gather = ((2.2, 1.6), (7, 6)) if curly else ((12, 0.8), (40, 5))
    fine = gaussian_filter(rng.standard_normal((size, size)), grain, mode="wrap")
    locks = gaussian_filter(rng.standard_normal((size, size)), gather, mode="wrap")
    mixed = 0.75 * fine / fine.std() + 0.65 * locks / locks.std()
    rank = np.empty(size * size)
    rank[mixed.ravel().argsort()] = np.linspace(0, 1, size * size)
    return rank.reshape(size, size).astype(np.float32)


@functools.cache
def _scalp_triangles() -> np.ndarray:
    """Skin triangles (T, 3) that a hair style may cover."""
    rig = load_rig()
    skin = rig.triangles[rig.material == SKIN]
    return skin[rig.vertices[skin][..., 1].min(1) > 6.6]


def grow_hair(hair: Hair) -> Mane:
    """The shells over the scalp and, for long styles, the hair that hangs from the temples and the back."""
    scalp = _grow_shells(hair)
    if not hair.length:
        return scalp
    hanging = _hang(hair)
    return Mane(
        np.concatenate([scalp.triangles, hanging.triangles + len(scalp.root)]).astype(np.int32),
        np.concatenate([scalp.solid, hanging.solid]),
        *(
            np.concatenate([getattr(scalp, name), getattr(hanging, name)])
            for name in ("root", "lift", "offset", "cover", "height", "strand")
        ),
    )


def _grow_shells(hair: Hair) -> Mane:
    triangles = _scalp_triangles()
    triangles = triangles[(hair.cover[triangles] > 0.02).all(1)]
    grown, local = np.unique(triangles, return_inverse=True)
    heights = (np.arange(hair.shells) + 1)[::-1] / max(hair.shells, 1)  # outermost first: it hides the others
    lift = hair.thickness[grown] * np.sqrt(hair.cover[grown])
    shift = np.arange(hair.shells)[:, None, None] * len(grown)
    root = np.tile(grown, hair.shells)
    return Mane(
        triangles=(local.reshape(1, -1, 3) + shift).reshape(-1, 3).astype(np.int32),
        solid=np.ones(len(triangles) * hair.shells, bool),
        root=root,
        lift=np.outer(heights, lift).ravel().astype(np.float32),
        offset=np.zeros((len(root), 3), np.float32),
        cover=hair.cover[root],
        height=np.repeat(heights, len(grown)).astype(np.float32),
        strand=strand_coordinates()[root],
    )


_HANG_COLUMNS, _HANG_ROWS, _HANG_LAYERS = 29, 14, 5
_HANG_TOP = 7.62  # canonical height where hanging hair leaves the scalp


def _hang(hair: Hair) -> Mane:
    """Layers of a curtain round the back of the head, from temple to temple; strands fall from the scalp."""
    points = load_rig().vertices
    first = 1.78 if hair.tucked else 1.0  # radians from straight ahead
    angle = np.linspace(first, 2 * np.pi - first, _HANG_COLUMNS)  # (C,)
    outward = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1)  # (C, 3)
    scalp = np.flatnonzero(skin_vertices() & (np.abs(points[:, 1] - _HANG_TOP) < 0.06))
    flat = points[scalp] - SKULL
    bearing = flat[:, [0, 2]] / np.linalg.norm(flat[:, [0, 2]], axis=1, keepdims=True)
    root = scalp[(outward[:, [0, 2]] @ bearing.T).argmax(1)]  # (C,)
    t = np.linspace(0, 1, _HANG_ROWS)  # (R,) along the strand
    height = np.linspace(1, 0.25, _HANG_LAYERS)  # (L,)
    clear = 0.0 if hair.tucked else 0.15  # past the ears
    # (L, R)
    spread = 0.05 * height[:, None] + clear * rise(0, 0.25, t) + 0.1 * rise(0.2, 1, t) * hair.length / 2
    layer, row, column = np.indices((_HANG_LAYERS, _HANG_ROWS, _HANG_COLUMNS)).reshape(3, -1)
    offset = outward[column] * spread[layer, row][:, None] - [0, 1, 0] * (t[row] * hair.length)[:, None]
    edge = np.minimum(column, _HANG_COLUMNS - 1 - column)
    cover = np.minimum(rise(-1.2, 1.2, edge), rise(1.04, 0.84, t[row]))
    strand = strand_coordinates()[root][column]
    strand[:, 0] = angle[column] / (2 * np.pi) * STRAND_TEXTURE * 1.98
    strand[:, 1] += t[row] * hair.length * 10
    quad = _grid_quads()
    return Mane(
        triangles=np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]).astype(np.int32),
        solid=np.zeros(2 * len(quad), bool),
        root=root[column],
        lift=(hair.thickness[root][column] * height[layer]).astype(np.float32),
        offset=offset.astype(np.float32),
        cover=cover.astype(np.float32),
        height=height[layer].astype(np.float32),
        strand=strand.astype(np.float32),
    )


def _grid_quads() -> np.ndarray:
    """Corner numbers (Q, 4) of the cells of a (layer, row, column) grid."""
    index = np.arange(_HANG_LAYERS * _HANG_ROWS * _HANG_COLUMNS).reshape(
        _HANG_LAYERS, _HANG_ROWS, _HANG_COLUMNS
    )
    corners = index[:, :-1, :-1], index[:, 1:, :-1], index[:, 1:, 1:], index[:, :-1, 1:]
    return np.stack([corner.ravel() for corner in corners], -1)
