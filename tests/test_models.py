"""The masked encoder and its heads: dropping hidden tokens changes cost, never the result."""

import pytest
import torch
from fixtures_models import FACES, REGIONS, faces, masks

from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.backbone.encoder import BackboneConfig, MaskedEncoder, visible_positions
from fau_mae.models.backbone.patches import patchify, unpatchify
from fau_mae.models.backbone.stems import STEMS
from fau_mae.models.heads import HEADS


def au_model(stem: str, head: str) -> AUModel:
    return AUModel(AUModelConfig("nano", stem, head=head, head_options={"node_width": 16}), FACES).eval()


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(3)


def masked_full_sequence(
    encoder: MaskedEncoder, image: torch.Tensor, visible: torch.Tensor
) -> list[torch.Tensor]:
    """Plain reference: every token goes through every block, hidden ones barred from attention by a key mask."""
    B, N = visible.shape
    x = encoder.stem(encoder.patches(image)) + encoder.pos_embed
    x = torch.cat([encoder.cls_token.expand(B, -1, -1), x], 1)
    bar = torch.zeros(B, 1, 1, N + 1)
    bar[:, 0, 0, 1:][~visible] = float("-inf")
    layers = []
    for block in encoder.blocks:
        x = block(x, attn_mask=bar)
        layers.append(x[:, 1:])
    return [*layers, encoder.norm(x)[:, 1:]]


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("counts", [[9, 9, 9], [3, 16, 1], [0, 5, 0]])
def test_gathering_equals_the_masked_full_sequence(stem: str, counts: list[int]) -> None:
    encoder = MaskedEncoder(BackboneConfig("nano", stem), FACES).eval()
    image, visible = faces(3), masks(counts)
    latents = encoder(image, visible)
    reference = masked_full_sequence(encoder, image, visible)
    real = torch.ones_like(latents.positions, dtype=torch.bool) if latents.valid is None else latents.valid
    assert real.sum(1).tolist() == counts
    for mine, full in zip([*latents.layers, latents.tokens], reference):
        wanted = torch.gather(full, 1, latents.positions[..., None].expand_as(mine))
        torch.testing.assert_close(mine[real], wanted[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("stem", STEMS)
def test_hidden_pixels_change_nothing(stem: str, head: str) -> None:
    model = au_model(stem, head)
    image, visible = faces(2), masks([6, 6])
    other = torch.where(
        unpatchify(visible[..., None].expand(-1, -1, 3 * 12 * 12).float(), 12) > 0, image, faces(2)
    )
    assert not torch.equal(image, other)
    for mine, same in zip(model(image, visible), model(other, visible)):
        torch.testing.assert_close(mine, same, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("stem", STEMS)
def test_pixels_have_finite_slopes(stem: str) -> None:
    """Saliency asks how pixels move the logits, on flat backgrounds too."""
    image = faces(2).float()
    image[0] = 127
    image[1, :, :24] = 0
    image.requires_grad_(True)
    au_model(stem, "query_graph")(image).logits.square().sum().backward()
    assert image.grad.isfinite().all() and image.grad[1, :, 24:].abs().amin((0, 1)).gt(0).float().mean() > 0.9


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("stem", STEMS)
def test_neighbours_in_the_batch_change_nothing(stem: str, head: str) -> None:
    """Padding for a neighbour with more visible tokens must not reach this face."""
    model = au_model(stem, head)
    image, visible = faces(3), masks([2, 9, 16])
    together = model(image, visible)
    for i in range(3):
        alone = model(image[i : i + 1], visible[i : i + 1])
        for mine, same in zip(together, alone):
            scale = max(1.0, same.abs().max().item())
            torch.testing.assert_close(mine[i : i + 1] / scale, same / scale, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_all_visible_equals_no_mask(head: str) -> None:
    model = au_model("linear", head)
    image = faces(2)
    for mine, same in zip(model(image, masks([16, 16])), model(image)):
        torch.testing.assert_close(mine, same)


@pytest.mark.parametrize("head", HEADS)
def test_shapes_of_the_output(head: str) -> None:
    output = au_model("gradient", head)(faces(2), masks([5, 0]))
    A = len(REGIONS)
    assert output.logits.shape == (2, A)
    assert output.nodes.shape == output.first_nodes.shape and output.nodes.shape[:2] == (2, A)
    assert output.edges.shape == output.first_edges.shape and output.edges.shape[:3] == (2, A, A)
    assert all(value.isfinite().all() for value in output)


def test_visible_positions_names_the_visible_first() -> None:
    visible = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0]], dtype=torch.bool)
    positions, valid = visible_positions(visible)
    assert positions.tolist()[0] == [1, 3] and positions.tolist()[1][0] == 0
    assert valid is not None and valid.tolist() == [[True, True], [True, False]]


def test_patchify_and_back() -> None:
    image = faces(2).float()
    torch.testing.assert_close(unpatchify(patchify(image, 12), 12), image)
    assert torch.equal(patchify(image, 12)[0, 1].reshape(3, 12, 12), image[0, :, :12, 12:24])


def test_gradient_stem_describes_patches_as_its_definition_does() -> None:
    """Angles and lengths of central differences, cos¹⁶ about each direction times the length, averaged per cell."""
    stem = MaskedEncoder(BackboneConfig("nano", "gradient"), FACES).stem
    patches = torch.randn(2, 5, 3 * 12 * 12)
    grey = patches.reshape(2, 5, 3, 12, 12).mean(2)
    padded = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    length, angle = torch.hypot(across, down), torch.atan2(down, across)  # (2, 5, 12, 12)
    bins = torch.arange(9).view(9, 1, 1) * torch.pi / 9
    votes = length[:, :, None] * torch.cos(angle[:, :, None] - bins) ** 16  # (2, 5, 9, 12, 12)
    cells = (votes.flatten(3) @ stem.gradients.pool).flatten(2)
    energy = (cells.square().sum(-1, keepdim=True) + 0.01).sqrt()
    wanted = (cells / energy).sqrt() * cells.shape[-1] ** 0.25
    torch.testing.assert_close(stem.describe(patches)[..., : cells.shape[-1]], wanted, atol=1e-5, rtol=1e-5)


def test_nodes_of_the_query_graph_are_sums_over_places_and_width() -> None:
    model = au_model("linear", "query_graph")
    head, latents = model.head, model.encoder(faces(2), masks([6, 3]))
    nodes = torch.einsum("bnr,anrd->bad", head.tokens(latents), head.queries) + head.query_bias
    wanted = torch.nn.functional.gelu(head.node_norm(nodes))
    torch.testing.assert_close(head(latents).first_nodes, wanted, atol=1e-5, rtol=1e-5)


def test_normalising_only_what_is_read_gives_the_same_bits() -> None:
    encoder = MaskedEncoder(BackboneConfig("nano", "linear"), FACES).eval()
    image, visible, read = faces(2), masks([6, 6]), []
    encoder.stem.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    encoder(image, visible)
    assert torch.equal(read[0], encoder.patches(image)[visible].view(2, 6, -1))
