"""Things worn on the face: `sunglasses`, a medical or cloth `mask`, and a `hair` strand over the face."""

import numpy as np

from data_modules.occlusion.paint import Drawing, Surface, nodes
from data_modules.occlusion.scene import Scene
from data_modules.occlusion.shapes import FAR, STEEP, bell, pick_shape, placing, rounded, stripe_noise
from data_modules.occlusion.textures import mean_colour, pick_tile


def draw_sunglasses(rng: np.random.Generator, scene: Scene) -> Drawing:
    """Two lenses on the eyes, bridge and temples; they grow into ski goggles and end there."""
    shape = pick_shape(rng, scene.pool, "sunglasses")
    half_width, half_height = shape.uniform(0.38, 0.46), shape.uniform(0.26, 0.36)
    squareness, droop = shape.uniform(-0.6, 1.6), shape.uniform(-0.1, 0.2)
    frame, reflection = shape.uniform(0.008, 0.022), shape.uniform(0.2, 0.6)
    texture = pick_tile(rng, scene.pool, "plastic")
    u, v = scene.chart.locate(*nodes(scene))
    head = scene.chart.on_head(*nodes(scene))
    field = np.full(u.shape, FAR)
    for side, (eye_u, eye_v) in zip((-1, 1), scene.chart.eyes):
        y = (v - eye_v - 0.05) / half_height
        x = (u - eye_u - 0.02 * side) / (half_width * (1 - droop * y))
        field = np.minimum(field, rounded(x, y, squareness))
        beyond = side * (u - eye_u)
        temple = np.abs(v - eye_v + 0.12) / 0.055
        field = np.minimum(field, np.where((beyond > 0) & head, temple, FAR))
    left, right = scene.chart.eyes
    between = np.abs(u - (left[0] + right[0]) / 2) < (right[0] - left[0]) / 2
    bridge = np.abs(v - (left[1] + right[1]) / 2 + 0.08) / 0.06
    field = np.minimum(field, np.where(between, bridge, FAR))
    gradient = 1.25 - 0.7 * np.clip((v + 0.5) / 1.0, 0, 1)
    glare = bell((u * 0.8 + v - 0.15) / 0.09) + bell((u * 0.8 + v + 0.55) / 0.07)
    shade = (gradient + 4 * reflection * glare).astype(np.float32)
    surface = Surface(texture, placing(rng, 0.3), shade, mean_colour(texture, 0.45), frame, 1.0, shadow=0.4)
    return Drawing(field, 2.0, lambda level: surface)


def draw_mask(rng: np.random.Generator, scene: Scene) -> Drawing:
    """A medical or cloth mask that is pulled up from the chin over mouth and nose to below the eyes."""
    shape = pick_shape(rng, scene.pool, "mask")
    half_width, jaw, arch = shape.uniform(1.05, 1.2), shape.uniform(0.25, 0.45), shape.uniform(0.1, 0.3)
    medical, pleated = shape.random() < 0.6, shape.random() < 0.7
    pleats, bump = int(shape.integers(4, 7)), shape.uniform(0.06, 0.14)
    texture = pick_tile(rng, scene.pool, "fleece" if medical else "cloth")
    u, v = scene.chart.locate(*nodes(scene))
    mouth_u, mouth_v = scene.chart.mouth
    u = u - mouth_u * np.clip(v, 0, 1)
    chin = mouth_v + 0.9
    width = half_width * (1 - 0.22 * np.clip(v - 0.6, 0, 1.2))
    x = u / width
    outside = np.maximum(np.maximum(half_width * (np.abs(x) - 1), v - chin + jaw * x * x), 0)
    top_edge = chin - v + arch * x * x - bump * bell(u / 0.25)  # its height over the chin
    field = top_edge + STEEP * outside
    beyond = np.abs(u) - half_width
    head = scene.chart.on_head(*nodes(scene)) & (beyond > -0.1)
    for attached, slope in ((0.6, -0.5), (1.4, -0.9)):
        strap = head & (np.abs(v - attached - slope * beyond) < 0.04)
        field[strap] = np.minimum(field[strap], chin - attached + arch + 0.05)
    volume = 1.06 - 0.28 * np.minimum(u * u, 1.2) - 0.15 * np.clip(v - mouth_v, 0, 1)
    if pleated:
        folds = 0.14 * np.maximum(np.sin((v - arch * x * x) * np.pi * pleats), -0.3)
    else:
        folds = -0.3 * bell(u / 0.035) + 0.1 * bell((u + 0.1) / 0.08)
    shade = (volume + folds).astype(np.float32)
    surface = Surface(texture, placing(rng, 1.0), shade, mean_colour(texture, 0.8), 0.012, 0.7, shadow=0.45)
    return Drawing(field, chin - 0.15, lambda level: surface)


def draw_hair(rng: np.random.Generator, scene: Scene) -> Drawing:
    """Locks that fall from above over the face, lock by lock, as far as the chin."""
    shape = pick_shape(rng, scene.pool, "hair")
    bend, wave, slant = shape.uniform(-0.5, 0.5), shape.uniform(0.0, 0.12), shape.uniform(-0.4, 0.4)
    coarse, fine = stripe_noise(shape, 9), stripe_noise(shape, 60)
    side = rng.uniform(-0.8, 0.8)
    texture = pick_tile(rng, scene.pool, "hair")
    u, v = scene.chart.locate(*nodes(scene))
    fall = v + 1.2
    across = u + slant * fall + bend * fall * fall * 0.25 + wave * np.sin(fall * 3)
    place = np.clip((across + 3) / 6, 0, 1 - 1e-9)
    lock, strand = coarse[(place * len(coarse)).astype(int)], fine[(place * len(fine)).astype(int)]
    reach = 0.75 * lock + 0.12 * strand + 1.1 * bell((across - side) / 0.9)
    field = fall - reach
    shine = 0.25 * bell((fall - 0.9 - 0.2 * lock) / 0.25)
    shade = (0.85 + 0.3 * strand + 0.18 * lock + shine).astype(np.float32)
    surface = Surface(texture, placing(rng, 1.0), shade, (10.0, 8.0, 6.0), 0.01, 0.3, 0.005, 0.4, 0.02)
    return Drawing(field, 1.6, lambda level: surface)
