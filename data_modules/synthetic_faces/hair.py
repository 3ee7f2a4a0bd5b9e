"""Hair as shells: copies of the scalp pushed outwards, each cut to strands by a noise texture.

A strand of height h covers the shells below h, so tips thin out, the hairline frays and silhouettes are
ragged.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from data_modules.synthetic_faces.assets import SKIN, load_rig

_COLOURS = np.array([[18, 14, 12], [34, 25, 20], [58, 40, 27], [92, 65, 42], [145, 110, 70], [182, 152, 105],
                     [112, 56, 30]])  # fmt: skip
_GREY = np.array([150, 147, 143])
_CENTRE = np.array([0.0, 7.45, 0.25])  # of the skull; strands run from the crown down its meridians
# Canonical height of the hairline by angle from straight ahead (radians): forehead, temple, before and
# behind the ear, nape.
_ANGLE = [0.0, 0.3, 0.6, 0.85, 1.0, 1.15, 1.35, 1.55, 1.7, 1.9, 2.3, 3.15]
_LINE = [7.93, 7.94, 7.90, 7.76, 7.52, 7.36, 7.22, 7.42, 7.42, 7.05, 6.85, 6.75]
STRAND_TEXTURE = 512


@dataclass(frozen=True)
class Hair:
    """One hair cut: `cover` says how much of the scalp's strands grow at each vertex."""

    style: str
    curly: bool
    colour: np.ndarray  # (3,) linear RGB
    cover: np.ndarray  # (V,) float32 in 0-1
    thickness: np.ndarray  # (V,) float32, decimetres from scalp to outer shell
    shells: int
    length: float  # of hair that hangs beside the face, decimetres below the temples; 0 = none
    tucked: bool  # hanging hair starts behind the ears


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


_SHELLS = {"short": 9, "fringe": 9, "curly": 14, "long": 8, "tucked": 7, "bob": 9, "buzz": 3, "bald": 0}
_MALE_STYLES = {
    "short": 0.44,
    "buzz": 0.24,
    "bald": 0.1,
    "fringe": 0.1,
    "long": 0.03,
    "tucked": 0.03,
    "curly": 0.06,
}
_FEMALE_STYLES = {
    "long": 0.27,
    "tucked": 0.27,
    "bob": 0.18,
    "short": 0.12,
    "fringe": 0.06,
    "curly": 0.07,
    "buzz": 0.03,
}


def sample_hair(rng: np.random.Generator, male: bool, age: float, ancestry: tuple) -> Hair:
    """Draw a hair cut; `ancestry` shifts colour and curls."""
    styles = _MALE_STYLES if male else _FEMALE_STYLES
    style = str(rng.choice(list(styles), p=list(styles.values())))
    curly = style == "curly" or bool(rng.random() < 0.1 + 0.6 * ancestry[0])
    if curly and style in ("short", "fringe") and rng.random() < 0.5:
        style = "curly"
    thickness = {
        "short": rng.uniform(0.08, 0.17),
        "fringe": rng.uniform(0.10, 0.17),
        "curly": rng.uniform(0.10, 0.24),
        "buzz": 0.022,
        "bald": 0.01,
    }.get(style, rng.uniform(0.08, 0.15))
    points = load_rig().vertices
    volume = (0.5 + 0.5 * _rise(7.4, 8.2, points[:, 1])) * (
        1 + 0.2 * np.sin(4 * points[:, 0] + rng.uniform(0, 6))
    )
    hangs = {"long": rng.uniform(1.7, 2.4), "tucked": rng.uniform(1.7, 2.4), "bob": rng.uniform(1.0, 1.35)}
    return Hair(
        style=style,
        curly=curly and style not in hangs,
        colour=_colour(rng, age, ancestry),
        cover=_cover(rng, style, age if male else 0.0),
        thickness=(thickness * volume).astype(np.float32),
        shells=_SHELLS[style],
        length=float(hangs.get(style, 0.0)),
        tucked=style == "tucked",
    )


def _colour(rng: np.random.Generator, age: float, ancestry: tuple) -> np.ndarray:
    if ancestry[2] > 0.5:
        choice = rng.choice(len(_COLOURS), p=[0.2, 0.25, 0.2, 0.14, 0.1, 0.06, 0.05])
    else:
        choice = rng.choice(2)
    grey = np.clip((age - 0.62) * 2.4 + rng.normal(0, 0.12), 0, 1)
    return ((_COLOURS[choice] * (1 - grey) + _GREY * grey) / 255) ** 2.2 * rng.uniform(0.85, 1.15)


def _cover(rng: np.random.Generator, style: str, receding: float) -> np.ndarray:
    """1 on the scalp inside the hairline, 0 on the face, soft between; ears stay bare."""
    points = load_rig().vertices
    signed = np.arctan2(points[:, 0], points[:, 2] - _CENTRE[2])
    angle = np.abs(signed)
    fringe = {"fringe": 1.0, "bob": rng.choice([0.0, 1.0]), "long": float(rng.random() < 0.25)}.get(
        style, 0.0
    )
    lift = 0.6 if style == "bald" else -fringe * rng.uniform(0.16, 0.32)
    lift += rng.normal(0, 0.035) + 0.12 * max(0.0, receding - 0.4)
    lift = lift + rng.normal(0, 0.07) * np.sin(1.5 * signed)  # combed to a side
    wave = 0.015 * np.sin(5 * signed + rng.uniform(0, 6)) + 0.012 * np.sin(11 * signed + rng.uniform(0, 6))
    line = np.interp(angle, _ANGLE, _LINE) + lift * _rise(1.15, 0.75, angle) + wave
    line += 0.12 * receding * _rise(0.2, 0.5, angle) * _rise(0.95, 0.65, angle)  # temples recede first
    cover = _rise(-0.05, 0.09, points[:, 1] - line)
    ears = (
        (np.abs(points[:, 0]) > 0.72) & (points[:, 1] < 7.42) & (points[:, 2] > -0.2) & (points[:, 2] < 0.62)
    )
    return (cover * _skin_vertices() * ~ears).astype(np.float32)


@functools.cache
def _skin_vertices() -> np.ndarray:
    """(V,) bool."""
    rig = load_rig()
    skin = np.zeros(len(rig.vertices), bool)
    skin[rig.triangles[rig.material == SKIN]] = True
    return skin


def _rise(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@functools.cache
def strand_coordinates() -> np.ndarray:
    """Strand texture coordinates (V, 2): around the skull, and from the crown down."""
    offset = load_rig().vertices - _CENTRE
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
    scalp = np.flatnonzero(_skin_vertices() & (np.abs(points[:, 1] - _HANG_TOP) < 0.06))
    flat = points[scalp] - _CENTRE
    bearing = flat[:, [0, 2]] / np.linalg.norm(flat[:, [0, 2]], axis=1, keepdims=True)
    root = scalp[(outward[:, [0, 2]] @ bearing.T).argmax(1)]  # (C,)
    t = np.linspace(0, 1, _HANG_ROWS)  # (R,) along the strand
    height = np.linspace(1, 0.25, _HANG_LAYERS)  # (L,)
    clear = 0.0 if hair.tucked else 0.15  # past the ears
    spread = (
        0.05 * height[:, None] + clear * _rise(0, 0.25, t) + 0.1 * _rise(0.2, 1, t) * hair.length / 2
    )  # (L, R)
    layer, row, column = np.indices((_HANG_LAYERS, _HANG_ROWS, _HANG_COLUMNS)).reshape(3, -1)
    offset = outward[column] * spread[layer, row][:, None] - [0, 1, 0] * (t[row] * hair.length)[:, None]
    edge = np.minimum(column, _HANG_COLUMNS - 1 - column)
    cover = np.minimum(_rise(-1.2, 1.2, edge), _rise(1.04, 0.84, t[row]))
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
