"""The registry of occlusion kinds. Mask polarity: True = visible.

A grid kind gives a cell mask and is filled as the user likes; a drawn kind gives an object that is painted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_modules.occlusion.blobs import draw_objects, draw_other_face, draw_texture
from data_modules.occlusion.grid import block_visible, edge_visible, patches_visible
from data_modules.occlusion.held import draw_cup, draw_hand, draw_microphone
from data_modules.occlusion.paint import Drawing
from data_modules.occlusion.regions import (
    au_targeted_visible,
    eyes_visible,
    mouth_visible,
    saliency_visible,
)
from data_modules.occlusion.scene import Scene
from data_modules.occlusion.worn import draw_hair, draw_mask, draw_sunglasses
from data_modules.streams import Draws


@dataclass(frozen=True)
class Kind:
    """One kind of occlusion: `cells` for a grid kind, `draw` for a drawn one, neither for "none"."""

    about: str
    cells: Callable[[Draws, float, Scene], np.ndarray] | None = None  # -> (g, g) bool
    draw: Callable[[Draws, Scene], Drawing] | None = None
    needs: str | None = None  # the argument of `occlude` without which it cannot work
    exact: bool = False  # hides exactly round(severity·g²) cells
    ends: bool = False  # has a natural size and hides no more than that


def _on_grid(function: Callable[..., np.ndarray], **options: str) -> Callable[..., np.ndarray]:
    """A grid kind that looks at nothing but the number of cells."""
    return lambda draws, severity, scene: function(draws, severity, scene.grid, **options)


KINDS: dict[str, Kind] = {
    "none": Kind("nothing is hidden"),
    "patches": Kind("random cells", _on_grid(patches_visible), exact=True),
    "block": Kind("one rectangle of random place and aspect", _on_grid(block_visible)),
    "upper": Kind("grows in from above: headset", _on_grid(edge_visible, edge="upper"), exact=True),
    "lower": Kind("grows in from below: scarf", _on_grid(edge_visible, edge="lower"), exact=True),
    "left": Kind(
        "grows in from the viewer's left: half profile", _on_grid(edge_visible, edge="left"), exact=True
    ),
    "right": Kind("grows in from the viewer's right", _on_grid(edge_visible, edge="right"), exact=True),
    "eyes": Kind("grows out from both eyes", eyes_visible, exact=True),
    "mouth": Kind("grows out from the mouth", mouth_visible, exact=True),
    "au_targeted": Kind("regions of chosen AUs first", au_targeted_visible, exact=True),
    "saliency": Kind("most salient cells first", saliency_visible, needs="saliency", exact=True),
    "sunglasses": Kind("two lenses, up to ski goggles", draw=draw_sunglasses, ends=True),
    "mask": Kind("medical or cloth mask", draw=draw_mask, ends=True),
    "hand": Kind("a hand that comes in", draw=draw_hand, ends=True),
    "hair": Kind("locks that fall over the face", draw=draw_hair, ends=True),
    "microphone": Kind("a microphone before the mouth", draw=draw_microphone, ends=True),
    "cup": Kind("a cup raised to the mouth", draw=draw_cup, ends=True),
    "texture": Kind("a blob of skin, cloth or noise", draw=draw_texture),
    "other_face": Kind("a blob of another face", draw=draw_other_face, needs="donor"),
    "objects": Kind("the user's RGBA cut-outs", draw=draw_objects, needs="objects"),
}
