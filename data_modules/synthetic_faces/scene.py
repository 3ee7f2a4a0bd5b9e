"""What surrounds a face in a picture: head pose, gaze, light, background, camera and its faults."""

from dataclasses import dataclass

import cv2
import numpy as np

# Grey, saturation and share of discs of the things in a room.
_THING_LOW, _THING_HIGH = np.array([[0.01], [0], [0]]), np.array([[0.9], [0.35], [1]])


@dataclass(frozen=True)
class Light:
    """A key light with shadow, a weak fill from the other side and a sky-and-floor ambient; linear RGB
    colours."""

    direction: np.ndarray  # (3,) towards the light, camera axes
    colour: np.ndarray
    sky: np.ndarray
    floor: np.ndarray
    fill_direction: np.ndarray
    fill: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Everything about a picture that is neither the person nor the expression. Angles in radians.

    Yaw > 0 turns the face to the viewer's right, pitch > 0 looks down, roll > 0 tilts clockwise for the
    viewer.
    """

    yaw: float
    pitch: float
    roll: float  # of the head in the aligned crop: what alignment leaves
    gaze: tuple[float, float]  # of the eyes in the head: to the subject's left, up
    blink: float  # 0-1 lid closure that is no AU43: a blink caught half-way
    light: Light
    exposure: float
    zoom: float  # of the crop about the aligned face
    shift: tuple[float, float]  # of the crop, fractions of its side
    backdrop: int  # seed of the background
    grain: float  # standard deviation of the sensor's noise, 0-1
    blur: float  # standard deviation in output pixels at size 224
    jpeg: int  # quality of a first, lossy encoding; 0 = none
    grain_seed: int


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene: yaw (sd 0.28, cut at 0.5), pitch (sd 0.12, cut at 0.35), small alignment
    errors, indoor light of many kinds."""
    return Scene(
        yaw=_within(rng, 0.28, 0.5),
        pitch=_within(rng, 0.12, 0.35),
        roll=float(rng.normal(0, 0.04)),
        gaze=(float(np.clip(rng.normal(0, 0.15), -0.4, 0.4)), float(np.clip(rng.normal(0, 0.08), -0.2, 0.2))),
        blink=float(rng.uniform(0.15, 0.5)) if rng.random() < 0.02 else 0.0,
        light=_sample_light(rng),
        exposure=float(rng.uniform(0.85, 1.25)),
        zoom=float(np.exp(rng.normal(0, 0.035))),
        shift=(float(rng.normal(0, 0.012)), float(rng.normal(0, 0.012))),
        backdrop=int(rng.integers(2**31)),
        grain=float(rng.uniform(0.002, 0.018)),
        blur=float(rng.uniform(0.3, 1.3)) if rng.random() < 0.3 else 0.0,
        jpeg=int(rng.integers(45, 90)) if rng.random() < 0.3 else 0,
        grain_seed=int(rng.integers(2**31)),
    )


def _within(rng: np.random.Generator, spread: float, limit: float) -> float:
    """A normal number, drawn again until it is within the limit."""
    while abs(value := rng.normal(0, spread)) > limit:
        pass
    return float(value)


def _sample_light(rng: np.random.Generator) -> Light:
    azimuth, elevation = _within(rng, 0.6, 1.2), rng.uniform(0.1, 0.85)
    direction = _sphere(azimuth, elevation)
    warmth = rng.normal(0, 0.09)
    ambient = rng.uniform(0.35, 0.75)
    return Light(
        direction=direction,
        colour=np.array([1 + warmth, 1, 1 - warmth]) * rng.uniform(0.6, 1.5),
        sky=ambient * (1 + rng.normal(0, 0.06, 3)),
        floor=ambient * 0.6 * (1 + rng.normal(0, 0.08, 3)),
        fill_direction=_sphere(-np.sign(azimuth) * rng.uniform(0.7, 1.4), rng.uniform(-0.2, 0.4)),
        fill=rng.uniform(0.05, 0.45) * (1 + rng.normal(0, 0.1, 3)),
    )


def _sphere(azimuth: float, elevation: float) -> np.ndarray:
    return np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )


def studio_scene(yaw: float = 0.0, pitch: float = 0.0) -> Scene:
    """An even, frontal scene for contact sheets and tests."""
    light = Light(
        direction=_sphere(0.45, 0.5),
        colour=np.array([1.0, 0.98, 0.95]) * 1.05,
        sky=np.array([0.52, 0.54, 0.57]),
        floor=np.array([0.33, 0.31, 0.3]),
        fill_direction=_sphere(-0.9, 0.1),
        fill=np.full(3, 0.2),
    )
    return Scene(yaw, pitch, 0.0, (0.0, 0.0), 0.0, light, 1.0, 1.0, (0.0, 0.0), -1, 0.0, 0.0, 0, 0)


def head_rotation(yaw: float, pitch: float) -> np.ndarray:
    """Rotation (3, 3) of the head: pitch after yaw."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return nod @ turn


def paint_background(seed: int, size: int) -> np.ndarray:
    """An out-of-focus room (size, size, 3) in linear RGB; plain grey for a negative seed."""
    if seed < 0:
        return np.full((size, size, 3), 0.16, np.float32)
    rng = np.random.default_rng(seed)
    work = 64
    tint = 1 + rng.normal(0, 0.08, 3)
    corners = rng.uniform(0.02, 0.75) * rng.uniform(0.6, 1.3, (2, 2, 1)) * tint
    image = cv2.resize(corners.astype(np.float32), (work, work), interpolation=cv2.INTER_LINEAR)
    things = int(rng.integers(0, 14))
    grey, saturation, round_share = rng.uniform(_THING_LOW, _THING_HIGH, (3, things))
    colours = (grey[:, None] * (1 + saturation[:, None] * rng.standard_normal((things, 3)))).clip(0, 1)
    places, sizes = rng.integers(0, work, (things, 2)).tolist(), rng.integers(3, 34, (things, 2)).tolist()
    for share, colour, (x, y), (w, h) in zip(round_share, colours.tolist(), places, sizes):
        if share < 0.35:
            cv2.circle(image, (x, y), w // 2, colour, -1)
        else:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.8, 5)))
    return np.asarray(cv2.resize(np.clip(image, 0, 1), (size, size), interpolation=cv2.INTER_LINEAR))
