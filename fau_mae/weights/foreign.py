"""Vision transformers of others as a `MaskedEncoder` (and `MaskedDecoder`): their names for weights, mapped to ours.

Known: He et al.'s MAE (`mae_pretrain_vit_*.pth`) and what is built on its code (MAE-Face, FMAE), and timm's vision
transformers. Widths, depths and grids are read from the weights, so the map serves every size.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.errors import UserError
from fau_mae.models.backbone.decoders.full import FullDecoder
from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder
from fau_mae.models.backbone.encoder import SIZES, MaskedEncoder
from fau_mae.models.backbone.stems import LinearStem

_UNUSED = re.compile(r"head\.|head_dist\.|fc_norm\.|decoder_|mask_token$|norm_pre\.")


def load_encoder(encoder: MaskedEncoder, state: dict[str, Tensor], source: str) -> None:
    """Fill `encoder` with foreign weights; positions are resized to its grid.

    Raises `UserError` with every weight that is missing, left over or of another shape; nothing is loaded then.
    """
    if not isinstance(encoder.stem, LinearStem):
        raise UserError(f"{source} has linear patches: set model.init_args.net.stem=linear to start from it")
    state = _without_prefix(state)
    wanted = state.get("patch_embed.proj.weight")
    if wanted is None or "cls_token" not in state or "pos_embed" not in state:
        needed = "patch_embed.proj.weight, cls_token, pos_embed"
        raise UserError(f"{source} is no vision transformer of MAE's or timm's form: that has {needed}")
    patch = wanted.shape[-1]
    if patch != encoder.patch:
        raise UserError(
            f"{source} has patches of {patch} pixels, this model of {encoder.patch}: set data.image_size to "
            f"{patch} × data.grid, such as {patch * encoder.grid}"
        )
    mapped = {ours: state[theirs] for theirs in state if (ours := _encoder_name(theirs))}
    mapped["stem.proj.weight"] = wanted.flatten(1)  # (D, 3·patch²), in the order channel, y, x
    first, places = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    # MAE's is 0; learned positions have one for the class token.
    mapped["cls_token"] = state["cls_token"] + first
    mapped["pos_embed"] = resize_positions(places, encoder.grid)
    if "norm.weight" not in state and "fc_norm.weight" in state:  # models fine-tuned on mean tokens
        mapped |= {"norm.weight": state["fc_norm.weight"], "norm.bias": state["fc_norm.bias"]}
    unknown = [name for name in state if not _encoder_name(name) and not _UNUSED.match(name)]
    unknown = [name for name in unknown if name not in ("patch_embed.proj.weight", "pos_embed", "cls_token")]
    _fill(encoder, mapped, unknown, source, kept=("pixel_mean", "pixel_std"))


def load_decoder(decoder: MaskedDecoder, state: dict[str, Tensor], source: str) -> bool:
    """Fill `decoder`, if it is of MAE's form, with MAE's where `state` holds one -> whether it did.

    Its heads for each patch's own mean and deviation and for gradients, which MAE has not, stay as they are.
    """
    state = _without_prefix(state)
    if "decoder_pred.weight" not in state or not isinstance(decoder, FullDecoder):
        return False
    mapped = {ours: state[theirs] for theirs in state if (ours := _decoder_name(theirs))}
    mapped["pos_embed"] = resize_positions(state["decoder_pos_embed"][:, 1:], decoder.grid)
    for kind in ("weight", "bias"):  # MAE orders a patch's numbers y, x, channel; here channel, y, x
        pixels = state[f"decoder_pred.{kind}"]
        side = round((len(pixels) / 3) ** 0.5)
        mapped[f"pixels.{kind}"] = pixels.unflatten(0, (side, side, 3)).movedim(2, 0).flatten(0, 2)
    own = [f"{head}.{kind}" for head in ("statistics", "gradients") for kind in ("weight", "bias")]
    _fill(decoder, mapped, [], source, kept=tuple(own))
    return True


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Position embeddings (1, n², D) -> (1, grid², D): bicubic, as MAE does; unchanged where n is `grid`."""
    side = round(positions.shape[1] ** 0.5)
    if side == grid:
        return positions
    if side * side != positions.shape[1]:
        raise UserError(f"{positions.shape[1]} position embeddings are no square grid")
    picture = positions.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, D, n, n)
    picture = F.interpolate(picture, (grid, grid), mode="bicubic", align_corners=False, antialias=side > grid)
    return picture.flatten(2).transpose(1, 2)


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what training wrappers put before all of them."""
    for prefix in ("module.", "model.", "encoder."):
        if any(name.startswith(f"{prefix}patch_embed.") for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _encoder_name(theirs: str) -> str | None:
    if theirs == "patch_embed.proj.bias":
        return "stem.proj.bias"
    return theirs if theirs.startswith(("blocks.", "norm.")) else None


def _decoder_name(theirs: str) -> str | None:
    if theirs == "mask_token":
        return theirs
    ours = theirs.removeprefix("decoder_")
    return ours if ours != theirs and ours.startswith(("embed.", "blocks.", "norm.")) else None


def _fill(
    module: nn.Module, mapped: dict[str, Tensor], unknown: list[str], source: str, kept: tuple[str, ...]
) -> None:
    own = module.state_dict()
    complaints = [f"{name} is unknown" for name in unknown]
    for name, value in own.items():
        if name in kept:
            continue
        if name not in mapped:
            complaints.append(f"{name} is missing")
        elif mapped[name].shape != value.shape:
            complaints.append(f"{name} is {tuple(mapped[name].shape)}, here {tuple(value.shape)}")
    complaints += [f"{name} is left over" for name in mapped if name not in own]
    if complaints:
        more = f" and {len(complaints) - 8} more" if len(complaints) > 8 else ""
        raise UserError(f"{source} does not fit{_size_hint(mapped)}: {'; '.join(complaints[:8])}{more}")
    with torch.no_grad():
        module.load_state_dict({**own, **mapped})


def _size_hint(mapped: dict[str, Tensor]) -> str:
    """` (its size is base)`, where the weights have an encoder size that is known here."""
    width = mapped["norm.weight"].shape[0] if "norm.weight" in mapped else 0
    depth = 1 + max((int(name.split(".")[1]) for name in mapped if name.startswith("blocks.")), default=-1)
    return next(
        (f" (its size is {size})" for size, s in SIZES.items() if (s.dim, s.depth) == (width, depth)), ""
    )
