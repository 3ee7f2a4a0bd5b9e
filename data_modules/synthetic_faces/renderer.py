"""One synthetic picture: identity + expression + scene -> crop, with everything known about it."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from data_modules.facs import CANONICAL_POINTS
from data_modules.synthetic_faces import assets, hair, kernels, shading
from data_modules.synthetic_faces.atlas import AXIS_Z, unroll
from data_modules.synthetic_faces.expression import pose_expression
from data_modules.synthetic_faces.identity import Identity
from data_modules.synthetic_faces.landmarks import PARTS, five_points, landmark_vertices
from data_modules.synthetic_faces.sampler import RENDERED_AUS
from data_modules.synthetic_faces.scene import Light, Scene, head_rotation, paint_background
from data_modules.synthetic_faces.wrinkles import expression_relief

RENDERER_VERSION = 4  # raise it whenever the same seed would give another picture
SMALLEST, LARGEST = 32, 1024  # pixels of a side
_SUPERSAMPLING = 2
_CAMERA_DISTANCE = 12.0  # decimetres from the eyes
_NECK_PIVOT = np.array([0.0, -1.1, -0.9], np.float32)
_NECK_FIXED, _NECK_FREE = -1.75, -0.95  # height below the eyes: shoulders stay, the head turns
_SHADOW_SIZE, _SHADOW_SPAN = 224, 5.0
_COLLAR = 5.85  # canonical height where clothing starts
_MIDDLE_GREY, _METERING = 0.28, 0.55
_HAIR = 7  # material number of shells


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
    segmentation: np.ndarray  # (S, S) uint8, labels of `shading`


@dataclass(frozen=True)
class _Model:
    """What of a person stays from frame to frame: V surface vertices, then W vertices of hair shells."""

    surface: int  # V
    origin: np.ndarray  # (V + W,) the surface vertex that a vertex is, or grows from
    lift: np.ndarray  # (W,) decimetres along its normal
    offset: np.ndarray  # (W, 3) decimetres, added to that
    triangles: np.ndarray  # (T, 3) those of the surface first
    surface_triangles: int
    material: np.ndarray  # (T,)
    solid: np.ndarray  # (T,) bool, False where both faces are drawn
    casting: np.ndarray  # (C, 3) triangles that cast shadows
    traits: np.ndarray  # (V + W, TRAITS) float32, columns of `shading`
    eyes: np.ndarray  # (2, 3) canonical centres of the eyeballs


@functools.lru_cache(maxsize=2)
def _model(identity: Identity) -> _Model:
    rig = assets.load_rig()
    count = len(rig.vertices)
    keep = _drawn(identity.lashes)
    triangles, material = rig.triangles[keep], rig.material[keep]
    mane = hair.grow_hair(identity.hair)
    origin = np.concatenate([np.arange(count), mane.root])
    middle_shell = np.abs(mane.height[mane.triangles[:, 0]] - 0.5) < 0.06  # stands for the hair in shadows
    eyes = [rig.vertices[np.unique(rig.triangles[rig.material == side])].mean(0) for side in (1, 2)]
    return _Model(
        surface=count,
        origin=origin,
        lift=mane.lift,
        offset=mane.offset,
        triangles=np.concatenate([triangles, mane.triangles + count]).astype(np.int32),
        surface_triangles=len(triangles),
        material=np.concatenate([material, np.full(len(mane.triangles), _HAIR)]).astype(np.int32),
        solid=np.concatenate([material != assets.LASHES, mane.solid]),
        casting=np.concatenate(
            [triangles[material != assets.LASHES], mane.triangles[middle_shell] + count]
        ).astype(np.int32),
        traits=_traits(identity.hair, mane, origin),
        eyes=np.stack(eyes),
    )


def _traits(cut: hair.Hair, mane: hair.Mane, origin: np.ndarray) -> np.ndarray:
    rig = assets.load_rig()
    traits = np.empty((len(origin), shading.TRAITS), np.float32)
    traits[:, shading.CANONICAL_X : shading.CANONICAL_Z + 1] = rig.vertices[origin]
    traits[:, shading.TEXEL_U : shading.TEXEL_V + 1] = unroll(rig.vertices)[origin]
    traits[:, shading.OPENNESS] = rig.openness[origin]
    traits[:, shading.FRONTNESS] = _frontness()[origin]
    surface = len(rig.vertices)
    traits[:surface, shading.COVER], traits[surface:, shading.COVER] = cut.cover, mane.cover
    traits[:surface, shading.HEIGHT], traits[surface:, shading.HEIGHT] = 0, mane.height
    strands = slice(shading.STRAND_U, shading.STRAND_V + 1)
    traits[:surface, strands], traits[surface:, strands] = hair.strand_coordinates(), mane.strand
    return traits


def _drawn(lashes: bool) -> np.ndarray:
    """(T,) bool: the surface without its lower lashes, and without the upper ones on faces that show none."""
    rig = assets.load_rig()
    upper = rig.vertices[rig.triangles][..., 1].mean(1) > 7.285
    return (rig.material != assets.LASHES) | (upper & lashes)


@functools.cache
def _frontness() -> np.ndarray:
    """(V,) 1 where the skin atlas is sharp, 0 behind the ears."""
    rig = assets.load_rig()
    normals = kernels.vertex_normals(rig.vertices, rig.triangles)
    radial = rig.vertices - np.array([0, 0, AXIS_Z], np.float32)
    outward = (normals[:, 0] * radial[:, 0] + normals[:, 2] * radial[:, 2]) / np.hypot(
        radial[:, 0], radial[:, 2]
    )
    return (np.clip(outward / 0.4, 0, 1) * np.clip((radial[:, 2] - 0.1) / 0.3, 0, 1)).astype(np.float32)


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
    points = _turn_head(_model(identity), surface, rotation)
    side = size * _SUPERSAMPLING
    screen = _project(points, scene, side)
    colour, labels, depth = _draw(identity, scene, points, screen, rotation, shown, side)
    intensity = strength.max(1) * 5
    intensity[RENDERED_AUS.index(25)] = parting
    landmarks = screen[landmark_vertices(), :2] / _SUPERSAMPLING
    return Frame(
        image=_expose(colour, labels, scene, size),
        intensity=intensity.astype(np.float32),
        landmarks=landmarks,
        box=_bounds(landmarks),
        parts={name: _bounds(landmarks[rows]) for name, rows in PARTS.items()},
        pose=np.array([scene.yaw, scene.pitch, scene.roll], np.float32),
        depth=np.where(depth < kernels.FAR, depth, np.inf)[::_SUPERSAMPLING, ::_SUPERSAMPLING].astype(
            np.float32
        ),
        segmentation=labels[::_SUPERSAMPLING, ::_SUPERSAMPLING].copy(),
    )


def _bounds(points: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 around points (n, 2)."""
    return np.concatenate([points.min(0), points.max(0)]).astype(np.float32)


def _turn_head(model: _Model, surface: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Grow the hair on the surface (V, 3) and turn the head on its neck -> points (V + W, 3) in camera
    axes."""
    normals = kernels.vertex_normals(surface, model.triangles[: model.surface_triangles])
    roots = model.origin[model.surface :]
    points = np.concatenate([surface, surface[roots] + normals[roots] * model.lift[:, None] + model.offset])
    turned = (points - _NECK_PIVOT) @ rotation.T + _NECK_PIVOT
    free = np.clip((points[:, 1:2] - _NECK_FIXED) / (_NECK_FREE - _NECK_FIXED), 0, 1)
    free = free * free * (3 - 2 * free)
    return (points + free * (turned - points)).astype(np.float32)


def _project(points: np.ndarray, scene: Scene, side: int) -> np.ndarray:
    """Perspective, then the similarity that alignment to the canonical points finds, then the scene's jitter.

    Returns x, y in pixels and depth (V + W, 3).
    """
    distance = _CAMERA_DISTANCE - points[:, 2]
    plane = np.stack([points[:, 0], -points[:, 1]], 1) * (_CAMERA_DISTANCE / distance)[:, None]
    target = np.array(CANONICAL_POINTS)
    turn, offset = _similarity(five_points(plane[landmark_vertices()]).astype(np.float64), target)
    jitter = scene.zoom * np.array(
        [[np.cos(scene.roll), -np.sin(scene.roll)], [np.sin(scene.roll), np.cos(scene.roll)]]
    )
    centre = target.mean(0)
    turn, offset = jitter @ turn, jitter @ (offset - centre) + centre + np.array(scene.shift)
    xy = (plane @ turn.T + offset) * side
    return np.column_stack([xy, distance]).astype(np.float32)


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least-squares rotation-and-scale matrix and offset that take source points (n, 2) to target
    points."""
    s, t = source - source.mean(0), target - target.mean(0)
    norm = (s**2).sum()
    cosine, sine = (s * t).sum() / norm, (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum() / norm
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return turn, target.mean(0) - turn @ source.mean(0)


def _draw(
    identity: Identity,
    scene: Scene,
    points: np.ndarray,
    screen: np.ndarray,
    rotation: np.ndarray,
    strength: np.ndarray,
    side: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rasterise and shade at `side` pixels: linear colour (side, side, 3), labels and depth (side, side)."""
    model, skin = _model(identity), identity.skin
    surface, shells = np.split(model.triangles, [model.surface_triangles])
    solid, solid_hair = np.split(model.solid, [model.surface_triangles])
    depth, number, weights = kernels.rasterize(screen, surface, solid, side, side)
    strands = hair.strand_texture(identity.hair.curly)
    shading.rasterize_strands(
        screen, shells, solid_hair, len(surface), model.traits, strands, depth, number, weights
    )
    normals = kernels.vertex_normals(points[: model.surface], surface)[model.origin]
    gaze = np.array([np.sin(scene.gaze[0]), np.sin(scene.gaze[1]), 1.0])
    look = shading.Look(
        albedo=skin.albedo,
        part=skin.part,
        relief=expression_relief(skin.relief, strength, skin.wrinkle_depth),
        oiliness=skin.oiliness,
        rotation=rotation,
        eyes=model.eyes,
        gaze=_f32(gaze / np.linalg.norm(gaze)),
        iris=_f32(identity.iris),
        hair=_f32(identity.hair.colour),
        strands=strands,
        clothing=_f32(identity.clothing),
        collar=_COLLAR,
    )
    image = cv2.resize(paint_background(scene.backdrop, side // _SUPERSAMPLING), (side, side))
    labels = shading.shade(
        number,
        weights,
        model.triangles,
        model.material,
        np.hstack([points, normals]),
        model.traits,
        look,
        _lamps(points, model.casting, scene.light),
        image,
    )
    return image, labels, depth


def _f32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)


def _lamps(points: np.ndarray, triangles: np.ndarray, light: Light) -> shading.Lamps:
    """The light with the shadow map of the casting `triangles`."""
    side = np.cross(light.direction, [0.05, 1.0, 0.02])
    side /= np.linalg.norm(side)
    axes = np.stack([side, np.cross(light.direction, side), -light.direction], 1).astype(np.float32)
    seen = points @ axes
    seen[:, :2] = seen[:, :2] * (_SHADOW_SIZE / _SHADOW_SPAN) + _SHADOW_SIZE / 2
    shadow = kernels.shadow_depth(seen, triangles, _SHADOW_SIZE)
    return shading.Lamps(
        direction=_f32(light.direction),
        key=_f32(light.colour),
        sky=_f32(light.sky),
        floor=_f32(light.floor),
        fill_direction=_f32(light.fill_direction),
        fill=_f32(light.fill),
        axes=axes,
        shadow=shadow,
        shadow_scale=_SHADOW_SIZE / _SHADOW_SPAN,
    )


def _metered_gain(colour: np.ndarray, labels: np.ndarray, scene: Scene) -> float:
    """The camera's gain: it meters the person, and corrects part of the way to a middle grey."""
    person = labels[::4, ::4] > 0
    level = float(colour[::4, ::4][person].mean()) if person.any() else _MIDDLE_GREY
    return scene.exposure * (_MIDDLE_GREY / max(level, 1e-3)) ** _METERING


def _expose(colour: np.ndarray, labels: np.ndarray, scene: Scene, size: int) -> np.ndarray:
    """Linear colour -> the camera's picture (size, size, 3) uint8: tone curve, blur, grain, lossy coding."""
    linear: np.ndarray = cv2.resize(colour, (size, size), interpolation=cv2.INTER_AREA) * _metered_gain(
        colour, labels, scene
    )
    if scene.blur:
        linear = np.asarray(cv2.GaussianBlur(linear, (0, 0), scene.blur * size / 224))
    display = np.clip(linear * (1 + linear / 2.2) / (1 + linear), 0, 1) ** np.float32(1 / 2.2)
    if scene.grain:
        rng = np.random.default_rng(scene.grain_seed)
        display += np.float32(scene.grain) * rng.standard_normal(display.shape, np.float32)
    image = (np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8)
    if scene.jpeg:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return image
