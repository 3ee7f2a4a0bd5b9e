"""Who a synthetic person is: the shape of the head and the look of skin, hair and eyes, from one random
stream."""

import functools
from dataclasses import dataclass

import numpy as np

from data_modules.synthetic_faces.assets import LEFT_EYE, RIGHT_EYE, load_rig
from data_modules.synthetic_faces.hair import Hair, sample_hair
from data_modules.synthetic_faces.skin import Skin, sample_skin

_EYE_DISTANCE = 0.62  # between the eyeballs of the neutral head, canonical decimetres
_ANCESTRIES = ("african", "asian", "caucasian")
# Spread of the shape sliders (1 = the end of a slider) by folder of targets.
_SPREAD = {"asym": 0.14, "neck": 0.1, "head": 0.13, "chin": 0.2, "cheek": 0.22, "eyes": 0.25, "mouth": 0.2,
           "nose": 0.27, "ears": 0.3, "eyebrows": 0.2, "forehead": 0.25}  # fmt: skip
_OPPOSITES = (("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
              ("compress", "uncompress"))  # fmt: skip
_POSED = ("mouth/mouth-angles", "eyebrows/eyebrows-angle", "mouth/mouth-dimples", "mouth/mouth-laugh-lines")


@dataclass(frozen=True)
class Traits:
    """The macro traits, each 0-1; `ancestry` are the shares of African, Asian and Caucasian, summing to 1."""

    maleness: float
    age: float
    ancestry: tuple[float, float, float]
    muscle: float
    weight: float


@dataclass(frozen=True, eq=False)
class Identity:
    """One person. `surface` is centred between the eyes and scaled so that the eyes are 0.62 apart."""

    number: int
    traits: Traits
    surface: np.ndarray  # (V, 3) float32, neutral
    skin: Skin
    hair: Hair
    iris: np.ndarray  # (3,) linear RGB
    clothing: np.ndarray  # (3,) linear RGB
    lashes: bool


def build_identity(seed: list[int], number: int) -> Identity:
    """The person `number` of the random stream `seed`; the same on every call."""
    shape_rng, skin_rng, hair_rng = (np.random.default_rng([*seed, number, stream]) for stream in range(3))
    traits = _sample_traits(shape_rng)
    surface = _sample_surface(shape_rng, traits)
    hair = sample_hair(hair_rng, traits.maleness > 0.5, traits.age, traits.ancestry)
    skin = sample_skin(skin_rng, traits.maleness, traits.age, traits.ancestry, hair.colour)
    clothing = (skin_rng.uniform(0.1, 0.9, 3) * skin_rng.uniform(0.3, 1)) ** 2.2
    lashes = bool(skin_rng.random() < (0.35 if traits.maleness > 0.5 else 0.9))
    return Identity(number, traits, surface, skin, hair, _sample_iris(skin_rng, traits), clothing, lashes)


def _sample_traits(rng: np.random.Generator) -> Traits:
    return Traits(
        maleness=float(rng.beta(0.5, 0.5)),
        age=float(rng.beta(1.2, 1.7)),
        ancestry=tuple(rng.dirichlet([0.45] * 3).tolist()),
        muscle=float(rng.uniform(0.2, 0.9)),
        weight=float(np.clip(rng.normal(0.5, 0.22), 0, 1)),
    )


def _sample_surface(rng: np.random.Generator, traits: Traits) -> np.ndarray:
    rig = load_rig()
    control = rig.control.copy()
    for name, weight in _macro_weights(traits):
        rig.add_morph(control, f"macro/{name}", weight)
    for (low, high), spread in _shape_sliders():
        value = float(np.clip(rng.normal(0, spread), -2.2 * spread, 2.2 * spread))
        for target in high if value > 0 else low:
            rig.add_morph(control, target, abs(value))
    # At rest, without it, faces look stern.
    rig.add_morph(control, "mouth/mouth-angles-up", float(rng.normal(0.3, 0.12)))
    surface = rig.surface(control)
    eyes = [surface[np.unique(rig.triangles[rig.material == side])].mean(0) for side in (LEFT_EYE, RIGHT_EYE)]
    scale = _EYE_DISTANCE / np.linalg.norm(eyes[0] - eyes[1])
    return ((surface - (eyes[0] + eyes[1]) / 2) * scale).astype(np.float32)


def _macro_weights(traits: Traits) -> list[tuple[str, float]]:
    """Weights of MakeHuman's macro targets: products of the positions on each macro slider."""
    sexes = (("female", 1 - traits.maleness), ("male", traits.maleness))
    ages = (("young", 1 - traits.age), ("old", traits.age))
    weights = [
        (f"{ancestry}-{sex}-{age}", share * sex_weight * age_weight)
        for ancestry, share in zip(_ANCESTRIES, traits.ancestry)
        for sex, sex_weight in sexes
        for age, age_weight in ages
    ]
    weights += [
        (
            f"universal-{sex}-{age}-{muscle}muscle-{weight}weight",
            sex_weight * age_weight * muscle_weight * weight_weight,
        )
        for sex, sex_weight in sexes
        for age, age_weight in ages
        for muscle, muscle_weight in _three_way(traits.muscle)
        for weight, weight_weight in _three_way(traits.weight)
    ]
    return [(name, weight) for name, weight in weights if weight > 1e-3]


def _three_way(value: float) -> tuple[tuple[str, float], ...]:
    return (
        ("min", max(0.0, 1 - 2 * value)),
        ("average", 1 - abs(2 * value - 1)),
        ("max", max(0.0, 2 * value - 1)),
    )


@functools.cache
def _shape_sliders() -> list[tuple[tuple[list[str], list[str]], float]]:
    """Shape sliders: targets of its low and high end (both sides of the face together), spread.

    Targets that would pose the face like an AU (mouth corners, brow angle) stay out.
    """
    sliders: dict[str, tuple[list[str], list[str]]] = {}
    for target in load_rig().morph_number:
        folder, name = target.split("/")
        if folder not in _SPREAD or target.startswith(_POSED):
            continue
        stem, _, ending = name.rpartition("-")
        if folder in ("eyes", "cheek", "ears"):
            stem = stem[2:]  # l- and r- move together
        high = ending in {up for _, up in _OPPOSITES}
        pole = 1 if high or ending not in {down for down, _ in _OPPOSITES} | {"l"} else 0
        key = f"{folder}/{stem}" if any(ending in pair for pair in _OPPOSITES) or folder == "asym" else target
        sliders.setdefault(key, ([], []))[pole].append(target)
    return [
        (ends, _SPREAD[key.split("/")[0]] * (0.4 if "trans" in key else 1))
        for key, ends in sorted(sliders.items())
    ]


_IRIS_COLOURS = np.array(
    [[60, 38, 20], [85, 55, 30], [110, 90, 50], [90, 110, 80], [85, 115, 145], [115, 135, 150]]
)


def _sample_iris(rng: np.random.Generator, traits: Traits) -> np.ndarray:
    dark = traits.ancestry[2] < 0.55
    colour = _IRIS_COLOURS[rng.integers(0, 2 if dark else len(_IRIS_COLOURS))] * rng.uniform(0.7, 1.1)
    return (colour / 255) ** 2.2
