"""Things held before the face: a `hand`, a `cup`, a `microphone`.

Hand and cup come in from outside at their natural size; the microphone comes nearer to the camera.
"""

import numpy as np

from data_modules.occlusion.paint import Drawing, Surface, nodes
from data_modules.occlusion.scene import Scene
from data_modules.occlusion.shapes import FAR, STEEP, bell, pick_shape, placing, rounded
from data_modules.occlusion.textures import mean_colour, pick_tile

_STEPS = 512  # of a profile across an object


def draw_hand(rng: np.random.Generator, scene: Scene) -> Drawing:
    """A hand that comes in, fingers first, from below or a side and ends with its tips past the target."""
    shape = pick_shape(rng, scene.pool, "hand")
    finger, spread = shape.uniform(0.26, 0.31), shape.uniform(0.0, 0.05)
    lengths = np.array([-0.10, 0.0, -0.07, -0.30]) + shape.normal(0, 0.025, 4)
    thumb = shape.uniform(-1.15, -0.85)
    mirrored = -1 if rng.random() < 0.5 else 1
    angle = rng.uniform(-1.3, 1.3)  # 0: straight up
    goal = scene.chart.plane(*scene.chart.points[int(rng.integers(5))])
    texture = pick_tile(rng, scene.pool, "skin")
    u, v = scene.chart.plane(*nodes(scene))
    u, v = u - goal[0] + rng.uniform(-0.2, 0.2), v - goal[1]
    across = mirrored * (u * np.cos(angle) + v * np.sin(angle))
    along = u * np.sin(angle) - v * np.cos(angle)  # grows towards the finger tips
    across = across + 0.05 * np.sin(1.3 * along)  # no hand is quite straight
    tips, light = _hand_profile(finger, spread, lengths, thumb)
    column = np.clip((across + 2) * (_STEPS / 4), 0, _STEPS - 1).astype(int)
    field = along - tips[column]
    base = light[column]

    def surface(level: float) -> Surface:
        below_tip = level - field  # 0 at the tips, in units of the face
        joints = sum(bell((below_tip - place) / 0.035) for place in (0.33, 0.62))
        nail = bell(((below_tip - 0.13) / 0.07) ** 2) * (base > 0.93)
        palm = np.clip((below_tip - 0.95) / 0.4, 0, 1)
        shade = base * (1 - palm) + (0.98 - 0.1 * across * across) * palm - 0.1 * joints * (1 - palm)
        shade = shade + 0.12 * nail
        return Surface(texture, placing_, shade.astype(np.float32), rim, 0.012, 0.55, shadow=0.5)

    placing_ = placing(rng, 1.0, angle)
    rim = mean_colour(texture, 0.48)
    return Drawing(field, rng.uniform(0.5, 0.8), surface)


def _hand_profile(
    finger: float, spread: float, lengths: np.ndarray, thumb: float
) -> tuple[np.ndarray, np.ndarray]:
    """Along the hand's width from -2 to 2: how far it reaches, and how light it is, (_STEPS,) each."""
    across = np.linspace(-2, 2, _STEPS)
    tips, light = np.full(_STEPS, -FAR), np.full(_STEPS, 0.9)
    pitch = finger + spread
    palm = np.abs(across) < 2 * pitch
    tips[palm] = -0.95  # the web between the fingers
    for number, length in enumerate(lengths):
        _round_column(tips, light, across - (number - 1.5) * pitch, finger / 2, length)
    _round_column(tips, light, across + 2 * pitch + 0.16, 0.17, thumb)
    wrist = (across > -2 * pitch - 0.33) & (across < 2 * pitch)
    tips[wrist] = np.maximum(tips[wrist], -1.75)
    return tips, light


def _round_column(
    tips: np.ndarray, light: np.ndarray, offset: np.ndarray, radius: float, length: float
) -> None:
    """Add one finger: a column with a round tip and the shading of a cylinder, in place."""
    within = np.abs(offset) < radius
    height = np.sqrt(np.maximum(radius * radius - offset * offset, 0))
    reach = length - radius + height
    tips[within] = np.maximum(tips[within], reach[within])
    light[within] = (0.68 + 0.36 * height / radius - 0.06 * offset / radius)[within]


def draw_cup(rng: np.random.Generator, scene: Scene) -> Drawing:
    """A mug or paper cup that is raised from below until its rim passes the nose."""
    shape = pick_shape(rng, scene.pool, "cup")
    radius, curve = shape.uniform(0.62, 0.85), shape.uniform(0.06, 0.16)
    angle = rng.uniform(-0.35, 0.35)
    texture = pick_tile(rng, scene.pool, "ceramic")
    u, v = scene.chart.plane(*nodes(scene))
    mouth_u, mouth_v = _mouth(scene)
    u, v = u - mouth_u - rng.uniform(-0.2, 0.2), v - mouth_v
    across, along = u * np.cos(angle) + v * np.sin(angle), u * np.sin(angle) - v * np.cos(angle)
    x = across / radius
    roundness = np.sqrt(np.maximum(1 - x * x, 0))
    field = along - curve * (roundness - 1) + 3 * STEEP * radius * np.maximum(np.abs(x) - 1, 0)
    body = (0.55 + 0.5 * roundness + 0.25 * bell((x + 0.45) / 0.13)).astype(np.float32)

    def surface(level: float) -> Surface:
        lip = bell((level - field - 0.035) / 0.03)  # the rim catches the light
        return Surface(texture, place, body + 0.2 * lip.astype(np.float32), (30.0, 28.0, 26.0), 0.008, 0.4)

    place = placing(rng, 1.2, angle)
    return Drawing(field, 0.75, surface)


def draw_microphone(rng: np.random.Generator, scene: Scene) -> Drawing:
    """A microphone with ball and handle before the mouth; it comes nearer and so grows, then ends."""
    shape = pick_shape(rng, scene.pool, "microphone")
    ball, grip, squareness = shape.uniform(0.4, 0.5), shape.uniform(0.2, 0.26), shape.uniform(0.8, 2.0)
    angle = rng.uniform(-0.7, 0.7)
    texture = pick_tile(rng, scene.pool, "mesh")
    u, v = scene.chart.plane(*nodes(scene))
    mouth_u, mouth_v = _mouth(scene)
    u, v = u - mouth_u, v - mouth_v - 0.18
    across, below = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
    head = rounded(across / ball, below / (ball * 1.1), squareness)
    handle = np.where(below > 0, np.abs(across) / grip, FAR)
    field = np.minimum(head, handle)

    def surface(level: float) -> Surface:
        x, y = across / (ball * level), below / (ball * level)
        sphere = 0.45 + 0.75 * np.sqrt(np.clip(1 - x * x - y * y, 0, 1)) - 0.15 * (x + y)
        ring = np.abs(head - level) < 0.09 * level
        body = 0.22 + 0.35 * bell((across / (grip * level) + 0.35) / 0.25)
        shade = np.where(head <= level, sphere, np.where(ring, 0.9, body))
        return Surface(texture, place, shade.astype(np.float32), (12.0, 12.0, 14.0), 0.006, 0.5)

    place = placing(rng, 1.0)
    return Drawing(field, 2.0, surface)


def _mouth(scene: Scene) -> tuple[float, float]:
    """The middle of the mouth on the chart's flat axes."""
    across, down = scene.chart.plane(*scene.chart.points[3:].mean(0))
    return float(across), float(down)
