"""Hair as shells: copies of the scalp pushed outwards, each cut to strands by a noise texture.

A strand of height h covers the shells below h, so tips thin out, the hairline frays and silhouettes are ragged.
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
# Canonical height of the hairline by angle from straight ahead (radians): forehead, temple, in front of and behind the ear, nape.
_ANGLE = [0.0, 0.3, 0.6, 0.85, 1.0, 1.15, 1.35, 1.55, 1.7, 1.9, 2.3, 3.15]
_LINE = [7.93, 7.94, 7.90, 7.76, 7.52, 7.36, 7.22, 7.42, 7.42, 7.05, 6.85, 6.75]
STRAND_TEXTURE = 512


@dataclass(frozen=True)
class Hair:
    """One hair cut: `cover` says how much of the scalp's strands grow at each vertex."""

    style: str
    colour: np.ndarray  # (3,) linear RGB
    cover: np.ndarray  # (V,) float32 in 0-1
    thickness: np.ndarray  # (V,) float32, decimetres from scalp to outer shell
    shells: int


def sample_hair(rng: np.random.Generator, male: bool, age: float, ancestry: tuple) -> Hair:
    if male:
        style = str(rng.choice(["short", "buzz", "bald", "fringe"], p=[0.48, 0.26, 0.12, 0.14]))
    else:
        style = str(rng.choice(["short", "fringe", "buzz"], p=[0.55, 0.37, 0.08]))
    cover = _cover(rng, style, age if male else 0.0)
    thickness = {
        "short": rng.uniform(0.10, 0.2),
        "fringe": rng.uniform(0.12, 0.2),
        "buzz": 0.025,
        "bald": 0.01,
    }[style]
    points = load_rig().vertices
    volume = (0.5 + 0.5 * _rise(7.4, 8.2, points[:, 1])) * (
        1 + 0.2 * np.sin(4 * points[:, 0] + rng.uniform(0, 6))
    )
    shells = {"short": 9, "fringe": 9, "buzz": 3, "bald": 0}[style]
    return Hair(style, _colour(rng, age, ancestry), cover, (thickness * volume).astype(np.float32), shells)


def _colour(rng: np.random.Generator, age: float, ancestry: tuple) -> np.ndarray:
    if ancestry[2] > 0.5:
        choice = rng.choice(len(_COLOURS), p=[0.2, 0.25, 0.2, 0.14, 0.1, 0.06, 0.05])
    else:
        choice = rng.choice(2)
    grey = np.clip((age - 0.62) * 2.4 + rng.normal(0, 0.12), 0, 1)
    return ((_COLOURS[choice] * (1 - grey) + _GREY * grey) / 255) ** 2.2 * rng.uniform(0.85, 1.15)


def _cover(rng: np.random.Generator, style: str, receding: float) -> np.ndarray:
    """1 on the scalp inside the hairline, 0 on the face, soft between; ears stay bare."""
    rig = load_rig()
    points = rig.vertices
    angle = np.abs(np.arctan2(points[:, 0], points[:, 2] - _CENTRE[2]))
    lift = {"short": 0.0, "buzz": 0.0, "fringe": -rng.uniform(0.18, 0.34), "bald": 0.6}[style]
    lift += rng.normal(0, 0.035) + 0.12 * max(0.0, receding - 0.4)
    wave = 0.015 * np.sin(5 * angle + rng.uniform(0, 6)) + 0.012 * np.sin(11 * angle + rng.uniform(0, 6))
    line = np.interp(angle, _ANGLE, _LINE) + lift * _rise(1.15, 0.75, angle) + wave
    line += 0.12 * receding * _rise(0.2, 0.5, angle) * _rise(0.95, 0.65, angle)  # temples recede first
    cover = _rise(-0.05, 0.09, points[:, 1] - line)
    ears = (
        (np.abs(points[:, 0]) > 0.72) & (points[:, 1] < 7.42) & (points[:, 2] > -0.2) & (points[:, 2] < 0.62)
    )
    skin = np.zeros(len(points), bool)
    skin[rig.triangles[rig.material == SKIN]] = True
    return (cover * skin * ~ears * (points[:, 2] < 1.45)).astype(np.float32)


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
def strand_texture() -> np.ndarray:
    """Height of the strand at each place (S, S), uniform in 0-1: fine across, long along, gathered in locks."""
    rng = np.random.default_rng(7)
    size = STRAND_TEXTURE
    fine = gaussian_filter(rng.standard_normal((size, size)), (12, 0.8), mode="wrap")
    locks = gaussian_filter(rng.standard_normal((size, size)), (40, 5), mode="wrap")
    mixed = 0.75 * fine / fine.std() + 0.65 * locks / locks.std()
    rank = np.empty(size * size)
    rank[mixed.ravel().argsort()] = np.linspace(0, 1, size * size)
    return rank.reshape(size, size).astype(np.float32)


@functools.cache
def scalp_triangles() -> np.ndarray:
    """Skin triangles (T, 3) that any hair style may cover: a view the styles are cut from."""
    rig = load_rig()
    skin = rig.triangles[rig.material == SKIN]
    return skin[rig.vertices[skin][..., 1].min(1) > 6.6]


def hair_shells(hair: Hair) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The shells of a hair cut, W vertices: triangles (T, 3), the surface vertex that each vertex grows from (W,), how
    far along its normal (W,) in decimetres, and its height in the hair (W,), 0-1."""
    triangles = scalp_triangles()
    triangles = triangles[(hair.cover[triangles] > 0.02).all(1)]
    grown, local = np.unique(triangles, return_inverse=True)
    heights = (np.arange(hair.shells) + 1) / max(hair.shells, 1)
    lift = hair.thickness[grown] * np.sqrt(hair.cover[grown])
    offset = np.arange(hair.shells)[:, None, None] * len(grown)
    return (
        (local.reshape(1, -1, 3) + offset).reshape(-1, 3).astype(np.int32),
        np.tile(grown, hair.shells),
        np.outer(heights, lift).ravel().astype(np.float32),
        np.repeat(heights, len(grown)).astype(np.float32),
    )
