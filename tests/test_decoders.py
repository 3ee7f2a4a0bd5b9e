"""Decoders: each is its equations written out, and what is saved changes no number. Masks: True = visible."""

import math

import pytest
import torch
from fixtures_models import FACES, GRID, faces, masks
from torch import Tensor
from torch.nn import functional as F

from data_modules.batch import FaceShape
from data_modules.errors import UserError
from fau_mae.models.backbone.decoders import DECODERS, TARGETS, MAEConfig, build_decoder
from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder, Told
from fau_mae.models.backbone.encoder import Latents, MaskedEncoder
from fau_mae.models.backbone.patches import unpatchify
from fau_mae.models.backbone.reconstruction import reconstruct, reconstruction_losses, some_hidden

N = GRID * GRID
COUNTS = [[4, 4, 4], [2, 16, 9], [0, 5, 0], [0, 0, 0]]  # visible patches of each face


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(3)


def autoencoder(
    decoder: str, target: str = "both", size: str = "micro"
) -> tuple[MaskedEncoder, MaskedDecoder]:
    """Micro: its decoder has more than one block. Biases and gains are no longer those it starts with."""
    config = MAEConfig(size, "gradient", decoder=decoder, target=target)
    encoder = MaskedEncoder(config, FACES)
    made = encoder, build_decoder(encoder, config)
    with torch.no_grad():
        for module in made:
            for parameter in module.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return made


def everywhere(count: int) -> Tensor:
    return torch.arange(N).expand(count, N)


def split_heads(x: Tensor, heads: int) -> list[Tensor]:
    return list(x.split(x.shape[-1] // heads, -1))


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Of one face, (Q, d), (K, d), (K, d) -> (Q, d), head by head."""
    told = []
    for q, k, v in zip(*(split_heads(x, heads) for x in (queries, keys, values))):
        told.append((q @ k.T / math.sqrt(q.shape[-1])).softmax(-1) @ v)
    return torch.cat(told, -1)


def plain_cross(decoder: MaskedDecoder, cls: Tensor, tokens: Tensor, place: int) -> Tensor:
    """One place of one face, whose real visible tokens are (V, D) -> (d,)."""
    seen = F.layer_norm(
        decoder.embed(torch.cat([cls[None], tokens])),
        (decoder.norm.weight.numel(),),
        decoder.norm_seen.weight,
        decoder.norm_seen.bias,
    )
    x = decoder.mask_token[0] + decoder.pos_embed[0, place]  # (1, d)
    for block in decoder.blocks:
        keys, values = block.key_value(seen).chunk(2, -1)
        read = plain_attention(block.query(block.norm1(x)), keys, values, block.heads)
        x = x + block.proj(read)
        x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
    return x[0]


def plain_full(decoder: MaskedDecoder, cls: Tensor, tokens: Tensor, positions: Tensor) -> Tensor:
    """Every place of one face whose tokens (V, D) are of `positions` -> (N, d), every token through every block."""
    x = decoder.mask_token[0].expand(N, -1).clone()
    for token, position in zip(tokens, positions):
        x[position] = decoder.embed(token)
    x = torch.cat([decoder.embed(cls)[None], x + decoder.pos_embed[0]])
    for block in decoder.blocks:
        queries, keys, values = block.attn.qkv(block.norm1(x)).chunk(3, -1)
        x = x + block.attn.proj(plain_attention(queries, keys, values, block.attn.num_heads))
        x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))
    return x[1:]


def plainly(kind: str, decoder: MaskedDecoder, latents: Latents) -> Tensor:
    """(B, N, d) after the last norm, face by face."""
    rows = []
    for b, cls in enumerate(latents.cls):
        real = slice(None) if latents.valid is None else latents.valid[b]
        tokens, positions = latents.tokens[b][real], latents.positions[b][real]
        if kind == "full":
            rows.append(plain_full(decoder, cls, tokens, positions))
        else:
            rows.append(torch.stack([plain_cross(decoder, cls, tokens, place) for place in range(N)]))
    return decoder.norm(torch.stack(rows))


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("kind", DECODERS)
def test_what_is_told_is_the_decoders_equations_at_the_places_asked_for(kind: str, counts: list[int]) -> None:
    encoder, decoder = autoencoder(kind)
    latents = encoder(faces(3), masks(counts))
    x = plainly(kind, decoder, latents)
    places = torch.stack([torch.randperm(N)[:5] for _ in counts])
    x = x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))
    told = decoder(latents, places)
    for name, value in told._asdict().items():
        torch.testing.assert_close(value, getattr(decoder, name)(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("kind", DECODERS)
def test_a_patch_is_told_the_same_whichever_others_are_asked_for(kind: str, counts: list[int]) -> None:
    encoder, decoder = autoencoder(kind)
    latents = encoder(faces(3), masks(counts))
    whole = decoder(latents, everywhere(3))
    for places in (torch.tensor([[7], [0], [15]]), torch.stack([torch.randperm(N)[:9] for _ in counts])):
        for some, all_ in zip(decoder(latents, places), whole):
            wanted = all_.gather(1, places[..., None].expand_as(some))
            torch.testing.assert_close(some, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("kind", DECODERS)
def test_losses_and_slopes_are_those_of_every_patch_decoded_and_the_hidden_ones_judged(
    kind: str, counts: list[int], target: str
) -> None:
    encoder, decoder = autoencoder(kind, target)
    image, visible = faces(3), masks(counts)
    ours = reconstruction_losses(encoder, decoder, image, visible)
    sum(ours.values()).backward()
    weights = [*encoder.parameters(), *decoder.parameters()]
    slopes = [parameter.grad.clone() for parameter in weights if parameter.grad is not None]
    for parameter in weights:
        parameter.grad = None
    wanted = plain_losses(
        decoder, decoder(encoder(image, visible), everywhere(3)), encoder.patches(image), ~visible
    )
    sum(wanted.values()).backward()
    assert ours.keys() == wanted.keys() and len(ours) == 1 + (target == "both")
    for name, value in ours.items():
        torch.testing.assert_close(value, wanted[name], atol=1e-6, rtol=1e-6)
    again = [parameter.grad for parameter in weights if parameter.grad is not None]
    for one, other in zip(slopes, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def plain_losses(decoder: MaskedDecoder, told: Told, patches: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """From the definition; `hidden` (B, N)."""
    losses, patches = {}, patches[hidden]  # (H, P)
    if told.pixels is not None:
        mean, std = patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + 0.01).sqrt()
        off = (told.pixels[hidden] - (patches - mean) / std).square().mean()
        losses["pixels"] = off + (told.statistics[hidden] - torch.cat([mean, std.log()], -1)).square().mean()
    if told.gradients is not None:
        gradients = decoder.describe(patches.reshape(1, -1, 3, patches.shape[-1] // 3).mean(2))[0]
        gradients = gradients - gradients.mean(0)
        gradients = gradients / (gradients.var(0, correction=0) + 1e-3).sqrt()
        losses["gradients"] = (told.gradients[hidden] - gradients).square().mean()
    return losses


@pytest.mark.parametrize("kind", DECODERS)
def test_a_batch_that_hides_nothing_teaches_nothing(kind: str) -> None:
    encoder, decoder = autoencoder(kind)
    losses = reconstruction_losses(encoder, decoder, faces(2), masks([16, 16]))
    sum(losses.values()).backward()
    assert [value.item() for value in losses.values()] == [0, 0]
    assert all(not p.grad.any() for p in decoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.9, 1.0])
def test_a_share_of_the_hidden_patches_is_drawn_evenly(share: float) -> None:
    visible = masks([4, 15, 16, 0] * 300)
    places, real = some_hidden(visible, share)
    real = torch.ones_like(places, dtype=torch.bool) if real is None else real
    hidden = ~visible
    assert real.sum(1).tolist() == [math.ceil(share * count) for count in hidden.sum(1).tolist()]
    drawn = torch.zeros(visible.shape).scatter_add(1, places, real.float())
    assert drawn.max() == 1 and not drawn[visible].any()
    often = drawn[0::4].sum(0) / hidden[0::4].sum(0)  # of faces with 12 hidden patches, how often each place
    assert (often - math.ceil(12 * share) / 12).abs().max() < 0.2


@pytest.mark.parametrize("kind", DECODERS)
def test_reconstruction_keeps_visible_pixels_and_paints_hidden_ones(kind: str) -> None:
    encoder, decoder = autoencoder(kind)
    image, visible = faces(3), masks([4, 12, 16])
    filled = reconstruct(encoder, decoder, image, visible)
    seen = unpatchify(visible[..., None].expand(-1, -1, 3 * 12 * 12).float(), 12) > 0
    assert filled.dtype == torch.uint8 and torch.equal(filled[seen], image[seen])
    assert not torch.equal(filled[~seen], image[~seen])
    told = decoder(encoder(image, visible), everywhere(3))
    painted = unpatchify(told.pixels * told.statistics[..., 1:].exp() + told.statistics[..., :1], 12)
    painted = (painted * encoder.pixel_std + encoder.pixel_mean).clamp(0, 255)
    assert (filled.float() - painted)[~seen].abs().max() < 0.51


def test_what_cannot_be_is_refused() -> None:
    encoder, decoder = autoencoder("cross", "gradients")
    with pytest.raises(UserError, match="paints no pixels"):
        reconstruct(encoder, decoder, faces(1), masks([4]))
    for options, said in [
        ({"target": "colours"}, "use one of pixels, gradients, both"),
        ({"decoder": "half"}, "use one of full, cross"),
        ({"decoder": "cross", "decoder_options": {"share": 0.0}}, "in 0-1, 0 left out"),
        ({"decoder": "full", "decoder_options": {"share": 0.5}}, "takes none"),
    ]:
        with pytest.raises(UserError, match=said):
            MAEConfig("nano", **options)
    odd = MaskedEncoder(MAEConfig("nano"), FaceShape(56, 4, (), "canonical"))
    with pytest.raises(UserError, match="set it to pixels"):
        build_decoder(odd, MAEConfig("nano", target="both"))
