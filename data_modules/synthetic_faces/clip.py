"""Clips: one person whose AUs rise, hold and fall (onset, apex, offset) while the head and the eyes move a
little."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from data_modules.synthetic_faces.draw import frame_stream
from data_modules.synthetic_faces.identity import Identity
from data_modules.synthetic_faces.renderer import Frame, render_frame
from data_modules.synthetic_faces.sampler import (
    PRESENCE_THRESHOLD,
    RENDERED_AUS,
    named_style,
    resolve_conflicts,
    split_sides,
)
from data_modules.synthetic_faces.scene import Scene, sample_scene

FRAMES_PER_SECOND = 25
_EPISODE = 60  # frames from one neutral face to the next
_BLINK = 7  # frames of a blink


def draw_clip(
    identity: Identity, seed: int, frames: int, size: int, style_name: str = "bp4d", step: int = 1
) -> Iterator[Frame]:
    """The first `frames` frames, at 25 a second, of a person's clip; every `step`-th of them.

    Every 60 frames a new expression is drawn from the style; each of its AUs has its own onset (6-14
    frames), apex and offset (8-18). The same (renderer version, seed, identity, frame) gives the same frame,
    whatever `frames` is.
    """
    first = sample_scene(frame_stream(identity, seed, 0))
    episode, strength, envelopes = -1, np.zeros((len(RENDERED_AUS), 2), np.float32), np.zeros((0, 0))
    lip_row = RENDERED_AUS.index(25)
    for index in range(0, frames, step):
        if index // _EPISODE != episode:
            episode = index // _EPISODE
            rng = frame_stream(identity, seed, episode + 1)
            strength = split_sides(rng, resolve_conflicts(named_style(style_name).draw(rng, 1)[0])[0])
            envelopes = _envelopes(rng)
        now = strength * envelopes[:, index % _EPISODE, None].astype(np.float32)
        lips_part = bool(now[lip_row].max() * 5 >= PRESENCE_THRESHOLD)
        yield render_frame(identity, now, lips_part, _scene_at(first, index), size)


def _envelopes(rng: np.random.Generator) -> np.ndarray:
    """Share of the peak (A, frames of an episode): smooth from 0 to 1, a plateau, smooth back to 0."""
    count = len(RENDERED_AUS)
    start = rng.uniform(2, 12) + rng.uniform(0, 4, count)  # AUs of an expression start almost together
    onset, offset = rng.uniform(6, 14, count), rng.uniform(8, 18, count)
    end = np.minimum(start + onset + rng.uniform(8, 26) + offset, _EPISODE - 1)
    time = np.arange(_EPISODE)
    rise = np.clip((time - start[:, None]) / onset[:, None], 0, 1)
    fall = np.clip((end[:, None] - time) / offset[:, None], 0, 1)
    level = np.minimum(rise, fall)
    return level * level * (3 - 2 * level)


def _scene_at(first: Scene, index: int) -> Scene:
    """The clip's scene at a frame: slow nods and turns, gaze that keeps the camera, blinks, fresh grain."""
    time = index / FRAMES_PER_SECOND
    phase = np.random.default_rng(first.backdrop).uniform(0, 2 * np.pi, 4)
    turn = 0.06 * np.sin(1.3 * time + phase[0]) + 0.03 * np.sin(3.1 * time + phase[1])
    nod = 0.03 * np.sin(1.7 * time + phase[2]) + 0.015 * np.sin(4.3 * time + phase[3])
    since_blink = index % (80 + first.backdrop % 40)
    blink = np.sin(np.pi * (since_blink + 0.5) / _BLINK) if since_blink < _BLINK else 0.0
    return dataclasses.replace(
        first,
        yaw=first.yaw + float(turn),
        pitch=first.pitch + float(nod),
        gaze=(first.gaze[0] - float(turn), first.gaze[1] + float(nod)),
        blink=0.9 * float(blink),
        grain_seed=first.backdrop + index,
    )
