"""What pre-training asks of hidden patches, how far off the answers are, and pictures filled in from them.

Shapes: B batch, N = grid² patches, Q patches asked for, P = 3·patch² numbers of a patch. Masks: True = visible.
"""

import torch
from torch import Tensor

from data_modules.errors import UserError
from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder
from fau_mae.models.backbone.encoder import MaskedEncoder, visible_positions
from fau_mae.models.backbone.patches import unpatchify


def some_hidden(visible: Tensor, share: float) -> tuple[Tensor, Tensor | None]:
    """A random `share` of each face's hidden patches: places (B, Q), and which are real, as `visible_positions` has it.

    At least one of every face that hides any; 1 = all of them, in order.
    """
    if share == 1:
        return visible_positions(~visible)
    counts = ((~visible).sum(1) * share).ceil().long()  # (B,)
    Q = int(counts.max())
    # Hidden ones first, in random order.
    order = (torch.rand(visible.shape, device=visible.device) + visible).argsort(1)  # (B, N)
    if int(counts.min()) == Q:
        return order[:, :Q], None
    return order[:, :Q], torch.arange(Q, device=visible.device) < counts[:, None]


def reconstruction_losses(
    encoder: MaskedEncoder, decoder: MaskedDecoder, image: Tensor, visible: Tensor, share: float = 1.0
) -> dict[str, Tensor]:
    """How far off a `share` of the hidden patches are told, term by term; a batch that hides nothing has losses 0.

    `pixels`: mean squared error of normalised pixels, plus that of each patch's mean and log deviation; `gradients`:
    that of its oriented gradients, each number standardised over the patches asked for.

    Args:
        image: (B, 3, H, W) uint8, the clean faces.
        visible: (B, N) bool, True = visible; only hidden patches count (He et al., 2022).
    """
    places, valid = some_hidden(visible, share)
    if not places.shape[1]:
        # Nothing is hidden. One patch is told and counts nothing: every weight keeps its gradient.
        places, valid = places.new_zeros(len(places), 1), visible.new_zeros(len(places), 1)
    told = decoder(encoder(image, visible), places)
    patches = encoder.patches_at(image, places)  # (B, Q, P)
    if valid is None:
        valid = torch.ones_like(places, dtype=torch.bool)
    losses = {}
    if told.pixels is not None and told.statistics is not None:
        target, mean, log_std = patch_statistics(patches)
        off = _mean_square(told.pixels - target, valid)
        losses["pixels"] = off + _mean_square(told.statistics - torch.cat([mean, log_std], -1), valid)
    if told.gradients is not None:
        with torch.no_grad():
            gradients = decoder.describe(patches.unflatten(-1, (3, -1)).mean(2))  # (B, Q, G)
            gradients = _standardised(gradients, valid)
        losses["gradients"] = _mean_square(told.gradients - gradients, valid)
    return losses


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (B, N, P) -> normalised patches (B, N, P), their mean and log deviation (B, N, 1 each)."""
    mean = patches.mean(-1, keepdim=True)
    std = (patches.var(-1, keepdim=True) + 1e-2).sqrt()  # flat patches must not blow sensor noise up
    return (patches - mean) / std, mean, std.log()


def reconstruct(encoder: MaskedEncoder, decoder: MaskedDecoder, image: Tensor, visible: Tensor) -> Tensor:
    """Fill the hidden patches of uint8 pictures (B, 3, H, W) -> uint8 pictures; visible pixels stay as they are.

    `visible` (B, N) bool, True = visible. Raises `UserError` for a decoder that was not trained on pixels.
    """
    patches = encoder.patches(image)  # (B, N, P)
    places, valid = visible_positions(~visible)  # (B, Q)
    told = decoder(encoder(image, visible), places)
    if told.pixels is None or told.statistics is None:
        raise UserError(
            "this autoencoder was trained on gradients alone and paints no pixels: set net.target to both"
        )
    filled = told.pixels * told.statistics[..., 1:].exp() + told.statistics[..., :1]  # (B, Q, P)
    index = places[..., None].expand_as(filled)
    if valid is not None:
        filled = torch.where(valid[..., None], filled, patches.gather(1, index))
    whole = unpatchify(patches.scatter(1, index, filled.float()), encoder.patch)  # (B, 3, H, W)
    return (whole * encoder.pixel_std + encoder.pixel_mean).round().clamp(0, 255).to(torch.uint8)


def _mean_square(off: Tensor, valid: Tensor) -> Tensor:
    """(B, Q, P), real where `valid` (B, Q) -> mean square over the real ones; 0 of none."""
    each = off.float().square().mean(-1) * valid  # (B, Q)
    return each.sum() / valid.sum().clamp(min=1)


def _standardised(values: Tensor, valid: Tensor) -> Tensor:
    """(B, Q, G) -> mean 0 and variance 1 of each number over the real ones; a number that never varies stays small."""
    weight = valid[..., None] / valid.sum().clamp(min=1)
    values = values - (values * weight).sum((0, 1))
    return values / ((values.square() * weight).sum((0, 1)) + 1e-3).sqrt()
