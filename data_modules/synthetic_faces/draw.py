"""Faces by number: the same (renderer version, seed, identity, frame) gives the same picture, in any
order."""

import numpy as np

from data_modules.synthetic_faces.identity import Identity, build_identity
from data_modules.synthetic_faces.renderer import RENDERER_VERSION, Frame, render_frame
from data_modules.synthetic_faces.sampler import named_style, resolve_conflicts, split_sides
from data_modules.synthetic_faces.scene import sample_scene

_FRAME_STREAM = 3  # streams 0-2 belong to the identity


def draw_identity(seed: int, number: int) -> Identity:
    """Person `number` of data set `seed`."""
    return build_identity([RENDERER_VERSION, seed], number)


def frame_stream(identity: Identity, seed: int, frame: int) -> np.random.Generator:
    """The random stream of one picture of a person."""
    return np.random.default_rng([RENDERER_VERSION, seed, identity.number, _FRAME_STREAM, frame])


def draw_frame(identity: Identity, seed: int, frame: int, size: int, style_name: str = "bp4d") -> Frame:
    """Picture `frame` of a person: AUs drawn from the style, a random scene."""
    rng = frame_stream(identity, seed, frame)
    intensity, lips_part = resolve_conflicts(named_style(style_name).draw(rng, 1)[0])
    return render_frame(identity, split_sides(rng, intensity), lips_part, sample_scene(rng), size)
