"""One synthetic picture: identity + expression + scene -> crop, with everything known about it."""

import math
from dataclasses import dataclass

import numpy as np

from data_modules.landmarks import PARTS
from data_modules.synthetic_faces import camera, kernels, shading
from data_modules.synthetic_faces.atlas import TEXELS
from data_modules.synthetic_faces.bust import Bust, build_bust, turn_head
from data_modules.synthetic_faces.expression import pose_expression
from data_modules.synthetic_faces.identity import Identity
from data_modules.synthetic_faces.landmarks import landmark_vertices
from data_modules.synthetic_faces.lighting import light_up
from data_modules.synthetic_faces.mane import strand_texture
from data_modules.synthetic_faces.sampler import RENDERED_AUS
from data_modules.synthetic_faces.scene import Scene, head_rotation, paint_background
from data_modules.synthetic_faces.strands import rasterize_strands
from data_modules.synthetic_faces.wrinkles import COARSEST, expression_relief

RENDERER_VERSION = 5  # raise it whenever the same seed would give another picture
SMALLEST, LARGEST = 32, 1024  # pixels of a side
_EYE_BIAS = 0.03  # decimetres that eyeballs stand back, so that they never pierce their lids
_SAMPLES = 2  # along a pixel's side


@dataclass(frozen=True)
class Frame:
    """A rendered face crop of S×S pixels and its truth."""

    image: np.ndarray  # (S, S, 3) uint8 RGB
    intensity: np.ndarray  # (A,) float32, 0-5, in the order of RENDERED_AUS
    landmarks: np.ndarray  # (68, 2) float32, pixels of the crop
    box: np.ndarray  # (4,) float32: x0, y0, x1, y1 around the landmarks
    parts: dict[str, np.ndarray]  # the same for parts of the face; left is the viewer's left
    pose: np.ndarray  # (3,) float32: yaw, pitch, roll in radians
    depth: np.ndarray  # (S, S) float32, decimetres from the camera; inf where there is no person
    segmentation: np.ndarray  # (S, S) uint8, labels of `materials`


def render_frame(identity: Identity, strength: np.ndarray, lips_part: bool, scene: Scene, size: int) -> Frame:
    """Render one person with AU strengths (A, 2), subject's left and right, 0-1, into a crop of `size`
    pixels.

    `lips_part` decides AU25 (see `pose_expression`); its intensity in the result is that of the rendered lip
    gap. The crop is what alignment to `facs.CANONICAL_POINTS` would give, moved by the scene's zoom, shift
    and roll.
    """
    strength = np.asarray(strength, np.float32)
    shown = strength.copy()
    if scene.blink:
        blink = RENDERED_AUS.index(43)
        shown[blink] = np.maximum(shown[blink], scene.blink)
    surface, parting = pose_expression(identity.surface, shown, lips_part)
    rotation = head_rotation(scene.yaw, scene.pitch).astype(np.float32)
    bust = build_bust(identity)
    points, normals = turn_head(bust, surface, rotation)
    crop = camera.aim(points, scene)
    samples = camera.project(points, crop, size * _SAMPLES)
    samples[bust.eyeballs, 2] += _EYE_BIAS
    depth, number = _rasterize(bust, samples, identity.hair.curly, size * _SAMPLES)
    scale = size * math.sqrt(abs(np.linalg.det(crop.turn)))  # pixels per decimetre
    image = paint_background(scene.backdrop, size)
    labels, level = shading.shade(
        number,
        depth,
        samples,
        bust.triangles,
        bust.material,
        normals,
        bust.traits,
        _look(identity, bust, scene, rotation, shown, scale),
        light_up(points[bust.casters], bust.casting, scene.light, camera.unproject(crop, size * _SAMPLES)),
        np.float32(1 / scale),
        image,
    )
    intensity = strength.max(1) * 5
    intensity[RENDERED_AUS.index(25)] = parting
    landmarks = samples[landmark_vertices(), :2] / _SAMPLES
    depth = depth[::_SAMPLES, ::_SAMPLES]
    return Frame(
        image=camera.expose(image, level, scene),
        intensity=intensity.astype(np.float32),
        landmarks=landmarks,
        box=_bounds(landmarks),
        parts={name: _bounds(landmarks[rows]) for name, rows in PARTS.items()},
        pose=np.array([scene.yaw, scene.pitch, scene.roll], np.float32),
        depth=np.where(depth < kernels.FAR, depth, np.float32(np.inf)),
        segmentation=labels,
    )


def _bounds(points: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 around points (n, 2)."""
    return np.concatenate([points.min(0), points.max(0)]).astype(np.float32)


def _rasterize(bust: Bust, samples: np.ndarray, curly: bool, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth and triangle number (side, side) of the surface and the hair."""
    depth, number = kernels.rasterize(samples, bust.surface, bust.solid, side, side)
    strands = strand_texture(curly)
    first = len(bust.surface)
    rasterize_strands(samples, bust.shells, bust.solid_shells, first, bust.traits, strands, depth, number)
    return depth, number


def _look(
    identity: Identity, bust: Bust, scene: Scene, rotation: np.ndarray, strength: np.ndarray, scale: float
) -> shading.Look:
    """The person for a picture of `scale` pixels per decimetre: skin maps about as fine as its pixels."""
    halvings = min(max(int(math.log2(TEXELS / scale)), 0), COARSEST)
    skin = identity.skin
    maps = skin.maps(halvings)
    gaze = np.array([math.sin(scene.gaze[0]), math.sin(scene.gaze[1]), 1.0])
    return shading.Look(
        albedo=maps.albedo,
        part=maps.part,
        relief=expression_relief(maps.relief, halvings, strength, skin.wrinkle_depth),
        texels=np.float32(TEXELS / 2**halvings),
        oiliness=np.float32(skin.oiliness),
        rotation=rotation,
        eyes=bust.eyes,
        gaze=_f32(gaze / np.linalg.norm(gaze)),
        iris=_f32(identity.iris),
        hair=_f32(identity.hair.colour),
        strands=strand_texture(identity.hair.curly),
        clothing=_f32(identity.clothing),
    )


def _f32(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)
