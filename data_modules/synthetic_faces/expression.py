"""Action units of the rig: which morph targets each AU moves, how the skin creases, and when the lips part.

Every AU has two halves, the subject's left and right, with their own strength 0-1 (intensity / 5).
"""

import functools
from dataclasses import dataclass

import numpy as np

from data_modules.synthetic_faces.assets import SKIN, load_rig
from data_modules.synthetic_faces.kernels import add_rows
from data_modules.synthetic_faces.sampler import RENDERED_AUS


def _both(name: str, weight: float) -> list[tuple[str, float]]:
    """A pair of one-sided morph targets; `*` stands for the side."""
    sides = ("Left", "Right") if name.startswith("unit/") else ("left", "right")
    return [(name.replace("*", side), weight) for side in sides]


# AU -> morph targets at full strength. `unit/` names are face units 01, the others MPFB 2 targets.
MORPHS: dict[int, list[tuple[str, float]]] = {
    1: [("unit/browInnerUp", 1.05), *_both("expression/eyebrows-*-inner-up", 0.6)],
    2: [*_both("unit/browOuterUp*", 1.05), *_both("expression/eyebrows-*-extern-up", 0.4)],
    4: [*_both("unit/browDown*", 0.95), *_both("expression/eyebrows-*-down", 0.5)],
    5: [*_both("unit/eyeWide*", 1.35)],
    6: [*_both("unit/cheekSquint*", 1.35), *_both("unit/eyeSquint*", 0.25)],
    7: [*_both("unit/eyeSquint*", 1.05), *_both("expression/eye-*-slit", 0.22)],
    9: [*_both("unit/noseSneer*", 1.3), *_both("expression/nose-*-elevation", 0.9),
        *_both("unit/browDown*", 0.25)],
    10: [*_both("unit/mouthUpperUp*", 1.05), ("expression/mouth-elevation", 0.5),
         *_both("expression/nose-*-elevation", 0.35)],
    12: [*_both("unit/mouthSmile*", 0.85), ("expression/mouth-corner-puller", 0.4)],
    14: [*_both("unit/mouthDimple*", 1.3), ("mouth/mouth-dimples-in", 1.0)],
    15: [*_both("unit/mouthFrown*", 1.25), ("expression/mouth-depression", 0.25)],
    16: [*_both("unit/mouthLowerDown*", 1.0)],
    17: [("unit/mouthShrugLower", 1.55), ("unit/mouthShrugUpper", 0.45)],
    18: [("unit/mouthPucker", 1.0)],
    20: [*_both("unit/mouthStretch*", 1.0), ("mouth/mouth-scale-horiz-incr", 0.75),
         ("expression/mouth-retraction", 0.5)],
    22: [("unit/mouthFunnel", 1.0)],
    23: [("mouth/mouth-scale-horiz-decr", 0.6), ("mouth/mouth-upperlip-height-decr", 0.75),
         ("mouth/mouth-lowerlip-height-decr", 0.75), ("unit/mouthPucker", 0.22),
         ("expression/mouth-compression", 0.3)],
    24: [("unit/mouthRollUpper", 0.6), ("unit/mouthRollLower", 0.65), *_both("unit/mouthPress*", 0.45),
         ("mouth/mouth-upperlip-height-decr", 0.4), ("mouth/mouth-lowerlip-height-decr", 0.4)],
    25: [("expression/mouth-parling", 1.2), *_both("unit/mouthLowerDown*", 0.8),
         *_both("unit/mouthUpperUp*", 0.2)],
    26: [("unit/jawOpen", 0.42)],
    27: [("unit/jawOpen", 1.0)],
    43: [*_both("unit/eyeBlink*", 1.0)],
}  # fmt: skip

# Where two AUs meet: an extra shape, at the smaller of the two strengths.
CORRECTIVES: list[tuple[int, int, list[tuple[str, float]]]] = [
    (12, 25, _both("unit/mouthUpperUp*", 0.45)),  # an open smile bares the upper teeth
    (1, 4, [("unit/browInnerUp", 0.25)]),  # the medial pull wins over the corrugator's: oblique brows
    (6, 12, _both("unit/cheekSquint*", 0.25)),  # the smile pushes the raised cheek further
    (5, 7, _both("unit/eyeSquint*", -0.3)),  # a raised lid does not close under the tightener
]

_SEAM_Y = 6.608  # canonical height of the line between the lips
_MOUTH_HALF_WIDTH = 0.25
_PAIR_X = np.linspace(-0.21, 0.21, 15)  # where the lip gap is measured
_FULL_GAP = 0.20  # lip gap at AU25 intensity 5; a unit is the distance between the eyes / 0.62
_STILL = 1e-5  # decimetres: less is no movement
_LEAST_GAP = 0.035  # parted lips show at least this gap


@dataclass(frozen=True)
class ExpressionBasis:
    """Surface offsets of each half AU and corrective, and the mouth's closing field."""

    start: np.ndarray  # (2A + 2C + 1,) int64: rows of the left, the right half of each AU, then of correctives
    index: np.ndarray  # (R,) int32, surface vertices
    offset: np.ndarray  # (R, 3) float32
    upper_lip: np.ndarray  # (K,) vertices on the inner rim of the upper lip
    lower_lip: np.ndarray  # (K,) their partners on the lower lip
    mouth: np.ndarray  # (M,) vertices that follow when lips are moved together
    follow: np.ndarray  # (M, K) how much of each pair's gap they follow; + for upper, - for lower


@functools.cache
def expression_basis() -> ExpressionBasis:
    rig = load_rig()
    left = _smoothstep(-0.07, 0.07, rig.vertices[:, :1])  # (V, 1) the subject's left is +x
    sides = (left, 1 - left)

    def halves(morphs: list[tuple[str, float]]) -> np.ndarray:
        control = np.zeros_like(rig.control)
        for name, weight in morphs:
            rig.add_morph(control, name, weight)
        offset = rig.surface(control)
        return np.stack([offset * side for side in sides])

    morphs = [*(MORPHS[number] for number in RENDERED_AUS), *(extra for _, _, extra in CORRECTIVES)]
    offsets = np.concatenate([halves(chosen) for chosen in morphs]).astype(np.float32)  # (2A + 2C, V, 3)
    moved = np.abs(offsets).max(2) > _STILL
    start = np.concatenate([[0], np.cumsum(moved.sum(1))])
    upper, lower = _lip_pairs()
    mouth, follow = _closing_field()
    index = np.nonzero(moved)[1].astype(np.int32)
    return ExpressionBasis(start, index, offsets[moved], upper, lower, mouth, follow)


def _lip_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Vertices that face each other across the seam of the lips, one pair for each of `_PAIR_X`."""
    rig = load_rig()
    points = rig.vertices
    skin = np.zeros(len(points), bool)
    skin[rig.triangles[rig.material == SKIN]] = True
    lips = np.flatnonzero(
        skin & (rig.lips > 0.3) & (points[:, 2] > 1.42) & (np.abs(points[:, 1] - _SEAM_Y) < 0.05)
    )

    def nearest(above: bool) -> np.ndarray:
        side = lips[(points[lips, 1] > _SEAM_Y) == above]
        cost = np.abs(points[side, 0] - _PAIR_X[:, None]) + np.abs(points[side, 1] - _SEAM_Y)
        return side[cost.argmin(1)]

    return nearest(True), nearest(False)


def _closing_field() -> tuple[np.ndarray, np.ndarray]:
    """How vertices around the mouth follow the closing lips: half the gap at the rim, fading over the lip."""
    points = load_rig().vertices
    rise = points[:, 1] - _SEAM_Y
    fade = np.exp(-((rise / 0.13) ** 2)) * _smoothstep(1.15, 1.35, points[:, 2])
    fade *= _smoothstep(_MOUTH_HALF_WIDTH + 0.06, _MOUTH_HALF_WIDTH - 0.04, np.abs(points[:, 0]))
    mouth = np.flatnonzero(fade > 0.01)
    hat = 1 - np.abs(points[mouth, :1] - _PAIR_X) / (_PAIR_X[1] - _PAIR_X[0])
    hat[points[mouth, 0] < _PAIR_X[0], 0] = 1
    hat[points[mouth, 0] > _PAIR_X[-1], -1] = 1
    follow = np.clip(hat, 0, 1) * (0.5 * fade[mouth] * np.where(rise[mouth] > 0, 1, -1))[:, None]
    return mouth, follow.astype(np.float32)


def pose_expression(neutral: np.ndarray, strength: np.ndarray, lips_part: bool) -> tuple[np.ndarray, float]:
    """Move the neutral surface (V, 3), in canonical units, by AU strengths (A, 2), each 0-1.

    `lips_part` False seals the lips whatever the other AUs do; True keeps them apart by a visible gap.
    Returns the vertices and the AU25 intensity that the lip gap of the mesh then amounts to (0 when sealed,
    else 1-5).
    """
    basis = expression_basis()
    points = neutral.copy()
    meeting = [
        np.minimum(strength[RENDERED_AUS.index(a)], strength[RENDERED_AUS.index(b)]) for a, b, _ in CORRECTIVES
    ]
    weights = np.concatenate([strength, meeting]).astype(np.float32).ravel()  # (2A + 2C,)
    for run in np.flatnonzero(weights):
        rows = slice(basis.start[run], basis.start[run + 1])
        add_rows(points, weights[run], basis.index[rows], basis.offset[rows])
    gap = points[basis.upper_lip] - points[basis.lower_lip]  # (K, 3)
    if not lips_part:
        points[basis.mouth] -= basis.follow @ (gap * [0.6, 1.0, 0.8])
        return points, 0.0
    opening = _opening(gap)
    if opening < _LEAST_GAP:
        bow = np.clip(1.2 - (_PAIR_X / 0.19) ** 2, 0, 1)[:, None] * [0, _LEAST_GAP - opening, 0]
        points[basis.mouth] += (basis.follow @ bow).astype(np.float32)
        opening = _LEAST_GAP
    return points, float(np.clip(1 + 4 * (opening - _LEAST_GAP) / (_FULL_GAP - _LEAST_GAP), 1, 5))


def _opening(gap: np.ndarray) -> float:
    """Mean height of the lip gap (K, 3) over the middle half of the mouth."""
    middle = len(_PAIR_X) // 2
    return float(gap[middle - 3 : middle + 4, 1].mean())


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
