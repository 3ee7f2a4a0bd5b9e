"""Action units of the rig: which morph targets each AU moves, how the skin creases, and when the lips part.

Every AU has two halves, the subject's left and right, with their own strength 0-1 (intensity / 5).
"""

import functools
from dataclasses import dataclass

import numpy as np

from data_modules.synthetic_faces.assets import load_rig
from data_modules.synthetic_faces.kernels import add_rows
from data_modules.synthetic_faces.lids import lid_gain, set_lids
from data_modules.synthetic_faces.lips import set_lips
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

_NARROW, _BLINK = RENDERED_AUS.index(7), RENDERED_AUS.index(43)
_STILL = 1e-5  # decimetres: less is no movement


@dataclass(frozen=True)
class ExpressionBasis:
    """Surface offsets of each half AU, subject's left then right, then of each half corrective."""

    start: np.ndarray  # (2A + 2C + 1,) int64: where the rows of each half begin
    index: np.ndarray  # (R,) int32, surface vertices
    offset: np.ndarray  # (R, 3) float32

    def rows(self, half: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and offsets of one half."""
        rows = slice(self.start[half], self.start[half + 1])
        return self.index[rows], self.offset[rows]


@functools.cache
def expression_basis() -> ExpressionBasis:
    morphs = [*(MORPHS[number] for number in RENDERED_AUS), *(extra for _, _, extra in CORRECTIVES)]
    offsets = np.concatenate([_halves(chosen) for chosen in morphs])  # (2A + 2C, V, 3)
    moved = np.abs(offsets).max(2) > _STILL
    start = np.concatenate([[0], np.cumsum(moved.sum(1))])
    return ExpressionBasis(start, np.nonzero(moved)[1].astype(np.int32), offsets[moved])


@functools.cache
def _lid_gains() -> np.ndarray:
    """(2, 2): how AU7 and AU43 at full strength raise the gap of the subject's left and right eye."""
    basis, count = expression_basis(), len(load_rig().vertices)
    return np.array(
        [[lid_gain(basis.rows(2 * row + side), count, side) for side in (0, 1)] for row in (_NARROW, _BLINK)]
    )


def _halves(morphs: list[tuple[str, float]]) -> np.ndarray:
    """Surface offsets (2, V, 3) of morph targets on the subject's left and right."""
    rig = load_rig()
    left = _smoothstep(-0.07, 0.07, rig.vertices[:, :1])  # (V, 1) the subject's left is +x
    control = np.zeros_like(rig.control)
    for name, weight in morphs:
        rig.add_morph(control, name, weight)
    offset = rig.surface(control)
    return np.stack([offset * left, offset * (1 - left)])


def pose_expression(neutral: np.ndarray, strength: np.ndarray, lips_part: bool) -> tuple[np.ndarray, float]:
    """Move the neutral surface (V, 3), in canonical units, by AU strengths (A, 2), each 0-1.

    `lips_part` False seals the lips whatever the other AUs do; True keeps them apart by a visible gap. Only
    AU43 closes the eyes. Returns the vertices and the AU25 intensity that the lip gap of the mesh then
    amounts to (0 when sealed, else 1-5).
    """
    basis, closing = expression_basis(), strength[_BLINK]
    points = neutral.copy()
    meeting = [
        np.minimum(strength[RENDERED_AUS.index(a)], strength[RENDERED_AUS.index(b)])
        for a, b, _ in CORRECTIVES
    ]
    weights = np.concatenate([strength, meeting]).astype(np.float32)  # (A + C, 2)
    weights[_BLINK] = 0
    for half in np.flatnonzero(weights).tolist():
        add_rows(points, weights.ravel()[half], *basis.rows(half))
    narrow, blink = ([basis.rows(2 * row + side) for side in (0, 1)] for row in (_NARROW, _BLINK))
    set_lids(points, closing, narrow, blink, _lid_gains())
    return points, set_lips(points, lips_part)


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
