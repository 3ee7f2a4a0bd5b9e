"""Hair cuts: style, colour, hairline and length of a person's hair."""

import functools
from dataclasses import dataclass

import numpy as np

from data_modules.synthetic_faces.assets import SKIN, load_rig

_COLOURS = np.array([[18, 14, 12], [34, 25, 20], [58, 40, 27], [92, 65, 42], [145, 110, 70], [182, 152, 105],
                     [112, 56, 30]])  # fmt: skip
_GREY = np.array([150, 147, 143])
SKULL = np.array([0.0, 7.45, 0.25])  # of the skull; strands run from the crown down its meridians
# Canonical height of the hairline by angle from straight ahead (radians): forehead, temple, before and
# behind the ear, nape.
_ANGLE = [0.0, 0.3, 0.6, 0.85, 1.0, 1.15, 1.35, 1.55, 1.7, 1.9, 2.3, 3.15]
_LINE = [7.93, 7.94, 7.90, 7.76, 7.52, 7.36, 7.22, 7.42, 7.42, 7.05, 6.85, 6.75]


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
    volume = (0.5 + 0.5 * rise(7.4, 8.2, points[:, 1])) * (
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
    signed = np.arctan2(points[:, 0], points[:, 2] - SKULL[2])
    angle = np.abs(signed)
    fringe = {"fringe": 1.0, "bob": rng.choice([0.0, 1.0]), "long": float(rng.random() < 0.25)}.get(
        style, 0.0
    )
    lift = 0.6 if style == "bald" else -fringe * rng.uniform(0.16, 0.32)
    lift += rng.normal(0, 0.035) + 0.12 * max(0.0, receding - 0.4)
    lift = lift + rng.normal(0, 0.07) * np.sin(1.5 * signed)  # combed to a side
    wave = 0.015 * np.sin(5 * signed + rng.uniform(0, 6)) + 0.012 * np.sin(11 * signed + rng.uniform(0, 6))
    line = np.interp(angle, _ANGLE, _LINE) + lift * rise(1.15, 0.75, angle) + wave
    line += 0.12 * receding * rise(0.2, 0.5, angle) * rise(0.95, 0.65, angle)  # temples recede first
    cover = rise(-0.05, 0.09, points[:, 1] - line)
    ears = (
        (np.abs(points[:, 0]) > 0.72) & (points[:, 1] < 7.42) & (points[:, 2] > -0.2) & (points[:, 2] < 0.62)
    )
    return (cover * skin_vertices() * ~ears).astype(np.float32)


@functools.cache
def skin_vertices() -> np.ndarray:
    """(V,) bool."""
    rig = load_rig()
    skin = np.zeros(len(rig.vertices), bool)
    skin[rig.triangles[rig.material == SKIN]] = True
    return skin


def rise(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
