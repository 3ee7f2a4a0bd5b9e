"""Weights of a head, AU by AU: rows of a checkpoint's AUs put into the order of another list of them."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from data_modules.errors import UserError
from fau_mae.models.au_model import AUModel, build_head


def rows_of(aus: Sequence[int], known: Sequence[int], source: object) -> list[int]:
    """Where each of `aus` stands in `known`. Raises `UserError` with those that `source` does not know."""
    if missing := [au for au in aus if au not in known]:
        raise UserError(
            f"{source} does not know {_names(missing)}, only {_names(known)}: use a store of its AUs, or train one "
            f"for these, from its encoder alone (init_from: encoder:{source})"
        )
    return [list(known).index(au) for au in aus]


def _names(aus: Sequence[int]) -> str:
    return ", ".join(f"AU{au}" for au in aus)


def pick_aus(state: dict[str, Tensor], model: AUModel, rows: Sequence[int], known: int) -> dict[str, Tensor]:
    """Weights of an `AUModel` of `known` AUs -> those of `rows`, in that order, for `model`.

    Which axes of a weight count AUs is found by building the head for one AU more: they are those that grow. Along
    them the numbers of an AU stand side by side.
    """
    if list(rows) == list(range(known)):
        return state
    picked = dict(state)
    for name, axes in _au_axes(model).items():
        if name not in state:
            continue
        for axis in axes:
            blocks = picked[name].unflatten(axis, (known, -1)).index_select(axis, torch.tensor(rows))
            picked[name] = blocks.flatten(axis, axis + 1)
    return picked


def _au_axes(model: AUModel) -> dict[str, list[int]]:
    """Weight or buffer of head and intensity -> its axes that count AUs."""
    axes = {}
    regions = model.faces.regions
    with torch.random.fork_rng(devices=[]):
        wider = replace(model.faces, regions=(*regions, regions[0]))
        one_more = build_head(model.config, model.encoder, wider)
    for part, grown in zip(("head", "intensity"), one_more):
        if grown is None:
            continue
        for name, value in getattr(model, part).state_dict().items():
            shapes = zip(value.shape, grown.state_dict()[name].shape)
            axes[f"{part}.{name}"] = [axis for axis, (here, there) in enumerate(shapes) if here != there]
    return axes
