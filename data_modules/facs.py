"""The Facial Action Coding System as this project uses it: action units, muscles, face regions, data-set AU lists.

Regions are rectangles in the canonical face crop (see `CANONICAL_POINTS`), in fractions of its width and
height, origin at the top left; `au_region` maps them to the other crop presets. They say where the picture shows an
AU, and are used to start the AU queries of the graph head, to aim `au_targeted` occlusion and to split results into
hidden and visible AUs.
"""

from dataclasses import dataclass

Rectangle = tuple[float, float, float, float]  # x0, y0, x1, y1 as fractions of the crop

# Where alignment puts the five points of a frontal face: the viewer's left eye, right eye, nose tip,
# viewer's left mouth corner, right mouth corner; (x, y) as fractions of the crop.
CANONICAL_POINTS: tuple[tuple[float, float], ...] = (
    (0.34, 0.38),
    (0.66, 0.38),
    (0.50, 0.57),
    (0.38, 0.72),
    (0.62, 0.72),
)

# Where each crop preset of `faces.alignment` shows what the canonical crop shows at (x, y): at scale · x + shift, in
# fractions of the crop, and how far parts stray from there, for `jaa_net` and `fmae` cut by boxes. Scale and
# shifts follow from `crop_matrix` for `MEAN_FACE` (tests/test_regions.py derives them); how far was set on 40 rendered
# faces, and on 120 of other people a region then held its landmarks in at least 95.8 %.
_SHOWN_AT: dict[str, tuple[float, float, float, float]] = {
    "canonical": (1.0, 0.0, 0.0, 0.0),
    "me_graphau": (1.197, -0.102, 0.002, 0.0),
    "jaa_net": (0.992, 0.004, -0.044, 0.01),
    "fmae": (1.004, -0.002, 0.022, 0.04),
}
PRESETS = tuple(_SHOWN_AT)

_BROW_INNER: Rectangle = (0.33, 0.16, 0.67, 0.36)
_BROWS: Rectangle = (0.16, 0.14, 0.84, 0.38)
_GLABELLA: Rectangle = (0.22, 0.20, 0.78, 0.42)
_EYES: Rectangle = (0.18, 0.30, 0.82, 0.46)
_CHEEKS: Rectangle = (0.14, 0.36, 0.86, 0.62)
_NOSE: Rectangle = (0.36, 0.34, 0.64, 0.62)
_UPPER_LIP: Rectangle = (0.30, 0.50, 0.70, 0.76)
_MOUTH: Rectangle = (0.28, 0.62, 0.72, 0.82)
_MOUTH_CORNERS: Rectangle = (0.24, 0.60, 0.76, 0.84)
_CHIN: Rectangle = (0.34, 0.72, 0.66, 0.94)
_JAW: Rectangle = (0.28, 0.64, 0.72, 0.98)


@dataclass(frozen=True)
class ActionUnit:
    """One FACS action unit: its number, FACS name, muscles and the region of the canonical crop that shows it."""

    number: int
    name: str
    muscles: str
    region: Rectangle


AUS: dict[int, ActionUnit] = {
    unit.number: unit
    for unit in (
        ActionUnit(1, "inner brow raiser", "frontalis, pars medialis", _BROW_INNER),
        ActionUnit(2, "outer brow raiser", "frontalis, pars lateralis", _BROWS),
        ActionUnit(4, "brow lowerer", "corrugator supercilii, depressor supercilii", _GLABELLA),
        ActionUnit(5, "upper lid raiser", "levator palpebrae superioris", _EYES),
        ActionUnit(6, "cheek raiser", "orbicularis oculi, pars orbitalis", _CHEEKS),
        ActionUnit(7, "lid tightener", "orbicularis oculi, pars palpebralis", _EYES),
        ActionUnit(9, "nose wrinkler", "levator labii superioris alaeque nasi", _NOSE),
        ActionUnit(10, "upper lip raiser", "levator labii superioris", _UPPER_LIP),
        ActionUnit(12, "lip corner puller", "zygomaticus major", _MOUTH_CORNERS),
        ActionUnit(14, "dimpler", "buccinator", _MOUTH_CORNERS),
        ActionUnit(15, "lip corner depressor", "depressor anguli oris", _MOUTH_CORNERS),
        ActionUnit(16, "lower lip depressor", "depressor labii inferioris", _MOUTH),
        ActionUnit(17, "chin raiser", "mentalis", _CHIN),
        ActionUnit(18, "lip pucker", "incisivii labii", _MOUTH),
        ActionUnit(20, "lip stretcher", "risorius", _MOUTH_CORNERS),
        ActionUnit(22, "lip funneler", "orbicularis oris", _MOUTH),
        ActionUnit(23, "lip tightener", "orbicularis oris", _MOUTH),
        ActionUnit(24, "lip pressor", "orbicularis oris", _MOUTH),
        ActionUnit(
            25, "lips part", "depressor labii inferioris, relaxed mentalis or orbicularis oris", _MOUTH
        ),
        ActionUnit(26, "jaw drop", "masseter relaxed; temporalis and internal pterygoid", _JAW),
        ActionUnit(27, "mouth stretch", "pterygoids, digastric", _JAW),
        ActionUnit(43, "eyes closed", "relaxed levator palpebrae superioris", _EYES),
    )
}

BP4D_AUS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA_AUS = (1, 2, 4, 6, 9, 12, 25, 26)
DISFA_ALL_AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
SYNTHETIC_AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26)


def au_name(number: int) -> str:
    """`12` -> `"AU12"`, the spelling of every table and column."""
    return f"AU{number}"


def au_region(number: int, preset: str) -> Rectangle:
    """The region of a crop by `preset` that shows this AU; the whole crop for an AU not in `AUS`."""
    if number not in AUS:
        return 0.0, 0.0, 1.0, 1.0
    x0, y0, x1, y1 = AUS[number].region
    _, _, _, stray = _SHOWN_AT[preset]
    (left, top), (right, bottom) = shown_at((x0, y0), preset), shown_at((x1, y1), preset)
    return max(left - stray, 0.0), max(top - stray, 0.0), min(right + stray, 1.0), min(bottom + stray, 1.0)


def shown_at(place: tuple[float, float], preset: str) -> tuple[float, float]:
    """A place (x, y) of the canonical crop -> where a crop by `preset` shows it; fractions of the crop."""
    scale, right, down, _ = _SHOWN_AT[preset]
    return scale * place[0] + right, scale * place[1] + down
