"""The camera: where points of the scene fall in the crop, and how light becomes a picture with its faults."""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from data_modules.facs import CANONICAL_POINTS
from data_modules.landmarks import five_points
from data_modules.synthetic_faces.landmarks import landmark_vertices
from data_modules.synthetic_faces.scene import Scene

DISTANCE = 12.0  # decimetres from the eyes
_MIDDLE_GREY, _METERING = 0.28, 0.55
_TONES = 4096  # steps of the tone curve's table
_SATURATED = math.sqrt(2.2)  # light that the tone curve shows as white


@dataclass(frozen=True)
class Crop:
    """From the picture plane through the eyes (x right, y down, decimetres) to a crop of side 1."""

    turn: np.ndarray  # (2, 2)
    offset: np.ndarray  # (2,)


def aim(points: np.ndarray, scene: Scene) -> Crop:
    """The similarity that alignment to the canonical points finds, then the scene's jitter.

    `points` (V, 3) in camera axes; the landmarks' vertices are looked at.
    """
    marks = points[landmark_vertices()].astype(np.float64)
    plane = marks[:, :2] * [1, -1] * (DISTANCE / (DISTANCE - marks[:, 2:]))
    target = np.array(CANONICAL_POINTS)
    turn, offset = _similarity(five_points(plane), target)
    cosine, sine = math.cos(scene.roll), math.sin(scene.roll)
    jitter = scene.zoom * np.array([[cosine, -sine], [sine, cosine]])
    centre = target.mean(0)
    return Crop(jitter @ turn, jitter @ (offset - centre) + centre + np.array(scene.shift))


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least-squares rotation-and-scale matrix and offset that take source points (n, 2) to target
    points."""
    s, t = source - source.mean(0), target - target.mean(0)
    norm = (s**2).sum()
    cosine, sine = (s * t).sum() / norm, (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / norm
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return turn, target.mean(0) - turn @ source.mean(0)


def project(points: np.ndarray, crop: Crop, side: int) -> np.ndarray:
    """Points (V, 3) in camera axes -> x, y in pixels of a crop of `side` pixels, and depth: (V, 3) float32."""
    return _project(points, (crop.turn * side).astype(np.float32), (crop.offset * side).astype(np.float32))


@njit(cache=True, fastmath=True, error_model="numpy")
def _project(points, turn, offset):
    screen = np.empty_like(points)
    far = np.float32(DISTANCE)
    for v in range(len(points)):
        distance = far - points[v, 2]
        scale = far / distance
        x, y = points[v, 0] * scale, -points[v, 1] * scale
        screen[v, 0] = turn[0, 0] * x + turn[0, 1] * y + offset[0]
        screen[v, 1] = turn[1, 0] * x + turn[1, 1] * y + offset[1]
        screen[v, 2] = distance
    return screen


def unproject(crop: Crop, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `project`: (3, 3) m and (3,) o so that a point is depth * (m @ (x, y, 1)) + o."""
    back = np.linalg.inv(crop.turn)
    plane = np.column_stack([back / side, -back @ crop.offset])  # (2, 3): x, y in the plane
    return np.stack([plane[0] / DISTANCE, -plane[1] / DISTANCE, [0, 0, -1]]), np.array([0, 0, DISTANCE])


def expose(linear: np.ndarray, level: float, scene: Scene) -> np.ndarray:
    """Linear colour (S, S, 3) -> the camera's picture (S, S, 3) uint8: metered gain, blur, tone curve, grain,
    lossy coding.

    The camera meters the person, whose mean is `level`, and corrects part of the way to a middle grey.
    """
    if scene.blur:
        linear = np.asarray(cv2.GaussianBlur(linear, (0, 0), scene.blur * len(linear) / 224))
    gain = scene.exposure * (_MIDDLE_GREY / max(level, 1e-3)) ** _METERING
    image = _develop(linear, np.float32(gain), _tone_table(), np.float32(scene.grain), scene.grain_seed)
    if scene.jpeg:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return image


@functools.cache
def _tone_table() -> np.ndarray:
    """Display values (0-255) of light by its square root, from none to what saturates."""
    light = np.linspace(0, 1, _TONES) ** 2 * _SATURATED
    curve = np.clip(light * (1 + light / 2.2) / (1 + light), 0, 1) ** (1 / 2.2)
    return (255 * curve).astype(np.float32)


@njit(cache=True, fastmath=True, error_model="numpy")
def _develop(linear, gain, table, grain, seed):
    """Light times gain through the tone table, plus nearly normal noise: sums of four uniform numbers, hashed
    from the seed and the place (splitmix64)."""
    image = np.empty(linear.shape, np.uint8)
    last, noise = np.float32(len(table) - 1), np.float32(255 * grain * math.sqrt(3) / 2**16)
    half, low = np.float32(0.5), np.float32(0)
    scale = np.float32(gain / _SATURATED)
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
    flat, out = linear.reshape(-1), image.reshape(-1)
    for k in range(len(flat)):
        value = table[int(last * math.sqrt(min(np.float32(1), max(low, flat[k] * scale))) + half)]
        if noise > low:
            state += np.uint64(0x9E3779B97F4A7C15)
            bits = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits ^= bits >> np.uint64(31)
            mask = np.uint64(0xFFFF)
            total = (bits & mask) + ((bits >> np.uint64(16)) & mask)
            total += ((bits >> np.uint64(32)) & mask) + (bits >> np.uint64(48))
            value += noise * (np.float32(np.int64(total)) - np.float32(2 * 65535))
        out[k] = np.uint8(min(np.float32(255), max(low, value)) + half)
    return image
