"""Weights in and out: MAE's, timm's and FMAE's forms by made-up weights of the real names, ours as safetensors."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from conftest import TINY
from fixtures_models import FACES, REGIONS, SIZE
from fixtures_training import fit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from data_modules.batch import FaceShape
from data_modules.errors import UserError
from data_modules.facs import SYNTHETIC_AUS
from data_modules.stores.store import FaceStore
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.backbone.decoders import MAEConfig, build_decoder
from fau_mae.models.backbone.encoder import SIZES, BackboneConfig, MaskedEncoder
from fau_mae.models.backbone.patches import patchify
from fau_mae.models.backbone.reconstruction import reconstruct
from fau_mae.weights.checkpoints import load_au_model, load_mae, start_from, start_mae_from
from fau_mae.weights.description import Description
from fau_mae.weights.foreign import resize_positions

PATCH = 12
WIDTH, DEPTH, HEADS, DECODER, DECODER_DEPTH, _ = SIZES["nano"]


def vision_transformer(**changes) -> VisionTransformer:
    """timm's own model at nano size: its names for weights are the real ones."""
    torch.manual_seed(0)
    options = {"img_size": SIZE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
    model = VisionTransformer(**{**options, "num_classes": 0, **changes}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def mae_state(model: VisionTransformer) -> dict[str, Tensor]:
    """The weights of `mae_visualize_vit_*.pth`: the encoder's as timm names them, and MAE's decoder."""
    state = dict(model.state_dict())
    places, pixels = state["pos_embed"].shape[1], 3 * PATCH**2
    shapes = {
        "mask_token": (1, 1, DECODER),
        "decoder_pos_embed": (1, places, DECODER),
        "decoder_embed.weight": (DECODER, WIDTH),
        "decoder_embed.bias": (DECODER,),
        "decoder_norm.weight": (DECODER,),
        "decoder_norm.bias": (DECODER,),
        "decoder_pred.weight": (pixels, DECODER),
        "decoder_pred.bias": (pixels,),
    }
    for i in range(DECODER_DEPTH):
        for name, value in model.blocks[0].state_dict().items():
            shapes[f"decoder_blocks.{i}.{name}"] = tuple(size * DECODER // WIDTH for size in value.shape)
    return state | {name: torch.randn(shape) for name, shape in shapes.items()}


def saved(tmp_path: Path, content: object, name: str = "weights.pth") -> str:
    torch.save(content, tmp_path / name)
    return str(tmp_path / name)


FORMS = {
    "mae": lambda state: {"model": state},
    "fmae": lambda state: {"model": state, "args": argparse.Namespace(lr=1.0), "epoch": 3},
    "wrapped": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
    "flat": lambda state: state,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_encoder_computes_what_the_original_does(form: str, tmp_path: Path) -> None:
    """Learned positions with one for the class token, every weight random: tokens agree with timm's forward."""
    original = vision_transformer()
    model = AUModel(AUModelConfig("nano"), FACES).eval()
    start_from(model, SYNTHETIC_AUS, saved(tmp_path, FORMS[form](original.state_dict())))
    image = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    wanted = original.forward_features(model.encoder.normalise(image))  # (B, 1+N, D)
    latents = model.encoder(image)
    torch.testing.assert_close(latents.tokens, wanted[:, 1:], atol=2e-3, rtol=2e-3)  # LayerNorm's eps differ
    torch.testing.assert_close(latents.cls, wanted[:, 0], atol=2e-3, rtol=2e-3)


def test_maes_decoder_comes_along_with_its_pixels_in_our_order(tmp_path: Path) -> None:
    state = mae_state(vision_transformer())
    picture = torch.arange(3.0 * PATCH**2).reshape(1, 3, PATCH, PATCH)
    state["decoder_pred.bias"] = picture[0].permute(1, 2, 0).flatten()  # y, x, channel
    encoder = MaskedEncoder(BackboneConfig("nano"), FACES)
    decoder = build_decoder(encoder, MAEConfig("nano", decoder="full"))
    start_mae_from(encoder, decoder, saved(tmp_path, {"model": state}))
    torch.testing.assert_close(decoder.pixels.bias.detach(), patchify(picture, PATCH)[0, 0])
    for ours, theirs in (
        ("embed.weight", "embed.weight"),
        ("blocks.0.attn.qkv.bias",) * 2,
        ("norm.bias",) * 2,
    ):
        torch.testing.assert_close(decoder.state_dict()[ours], state[f"decoder_{theirs}"])
    torch.testing.assert_close(decoder.pos_embed, state["decoder_pos_embed"][:, 1:])
    torch.testing.assert_close(encoder.blocks[1].mlp.fc2.weight.detach(), state["blocks.1.mlp.fc2.weight"])


def test_a_decoder_of_another_form_starts_at_random_beside_maes_encoder(tmp_path: Path) -> None:
    config = MAEConfig("nano", decoder="cross", target="both")
    encoder = MaskedEncoder(config, FACES)
    decoder = build_decoder(encoder, config)
    own = {name: value.clone() for name, value in decoder.state_dict().items()}
    state = mae_state(vision_transformer())
    start_mae_from(encoder, decoder, saved(tmp_path, {"model": state}))
    assert all(torch.equal(value, own[name]) for name, value in decoder.state_dict().items())
    torch.testing.assert_close(encoder.blocks[1].mlp.fc2.weight.detach(), state["blocks.1.mlp.fc2.weight"])


def test_autoencoders_of_older_versions_decode_as_they_did(tmp_path: Path) -> None:
    """Their recipes name neither decoder nor target: MAE's own, and pixels."""
    config = MAEConfig("nano", "gradient", decoder="full", target="pixels")
    encoder = MaskedEncoder(config, FACES)
    decoder = build_decoder(encoder, config)
    parts = {"embed", "norm", "pixels", "statistics"}
    parts |= {
        f"blocks.0.{part}" for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    }
    names = {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")} | {"mask_token", "pos_embed"}
    assert set(decoder.state_dict()) == names
    said = Description("mae", config, FACES).to_dict()
    for later in ("decoder", "decoder_options", "target"):
        del said["recipe"][later]
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    state |= {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    loaded = load_mae(saved(tmp_path, {"fau_mae": said, "state_dict": state}))
    image = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    visible = torch.arange(FACES.grid**2).expand(2, -1) % 3 == 0
    assert torch.equal(reconstruct(*loaded, image, visible), reconstruct(encoder, decoder, image, visible))


def test_positions_are_resized_to_another_grid(tmp_path: Path) -> None:
    """A ramp stays a ramp between the same ends of the face, and pictures of another size can be read."""
    ramp = (torch.arange(8) + 0.5).expand(8, 8).reshape(1, 64, 1) / 8
    resized = resize_positions(ramp, 4).reshape(4, 4)
    torch.testing.assert_close(
        resized[:, 1:3], (torch.arange(4) + 0.5)[1:3].expand(4, 2) / 4, atol=0.02, rtol=0
    )
    assert resize_positions(ramp, 8) is ramp
    model = AUModel(AUModelConfig("nano"), FaceShape(96, 8, REGIONS, "canonical"))
    start_from(model, SYNTHETIC_AUS, saved(tmp_path, vision_transformer().state_dict()))
    assert model.encoder.pos_embed.shape == (1, 64, WIDTH)


def test_fine_tuned_models_lend_their_last_norm_and_their_classifier_is_left(tmp_path: Path) -> None:
    original = vision_transformer(global_pool="avg", num_classes=7)
    assert "norm.weight" not in original.state_dict()
    model = AUModel(AUModelConfig("nano"), FACES)
    start_from(model, SYNTHETIC_AUS, saved(tmp_path, original.state_dict()))
    assert torch.equal(model.encoder.norm.weight, original.fc_norm.weight)


@pytest.mark.parametrize(
    ("changes", "spoil", "stem", "words"),
    [
        ({"embed_dim": 192, "depth": 12}, None, "linear", "its size is tiny"),
        ({"depth": 1}, None, "linear", "blocks.1.norm1.weight is missing"),
        ({"depth": 3}, None, "linear", "blocks.2.norm1.weight is left over"),
        ({"qkv_bias": False}, None, "linear", "attn.qkv.bias is missing"),
        ({"patch_size": 16}, None, "linear", "image_size to 16"),
        ({}, None, "gradient", "stem=linear"),
        ({}, lambda state: state.update(surprise=torch.zeros(1)), "linear", "surprise is unknown"),
        ({}, lambda state: state.pop("pos_embed"), "linear", "no vision transformer"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(
    tmp_path: Path, changes: dict, spoil: Callable | None, stem: str, words: str
) -> None:
    state = dict(vision_transformer(**changes).state_dict())
    if spoil:
        spoil(state)
    model = AUModel(AUModelConfig("nano", stem), FACES)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=words):
        start_from(model, SYNTHETIC_AUS, saved(tmp_path, {"model": state}))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_hub_names_go_through_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create_model(name: str, pretrained: bool, num_classes: int) -> VisionTransformer:
        asked.append(name)
        if "missing" in name:
            raise RuntimeError("Unknown model")
        return vision_transformer()

    monkeypatch.setattr(timm, "create_model", create_model)
    model = AUModel(AUModelConfig("nano"), FACES)
    start_from(model, SYNTHETIC_AUS, "timm:vit_base_patch16_224.mae")
    start_from(model, SYNTHETIC_AUS, "hf-hub:somebody/some-vit")
    assert asked == ["vit_base_patch16_224.mae", "hf-hub:somebody/some-vit"]
    with pytest.raises(UserError, match="could not fetch timm:missing: Unknown model"):
        start_from(model, SYNTHETIC_AUS, "timm:missing")


class Malice:
    """What unpickling would run."""

    def __reduce__(self):
        return print, ("unpickled",)


def test_nothing_but_tensors_is_unpickled(tmp_path: Path, capsys) -> None:
    path = saved(tmp_path, {"model": vision_transformer().state_dict(), "extra": Malice()})
    with pytest.raises(UserError, match="pickled Python objects, which are never loaded"):
        start_from(AUModel(AUModelConfig("nano"), FACES), SYNTHETIC_AUS, path)
    assert "unpickled" not in capsys.readouterr().out


def test_mae_weights_start_the_stages_and_safetensors_replace_checkpoints(
    fau_mae: Callable[..., int], tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    """MAE's file -> pre-training goes on -> saved as safetensors -> teacher -> saved -> the same predictions."""
    mae = saved(tmp_path, {"model": mae_state(vision_transformer())})
    store, linear = f"--data.store={tiny_store.path}", "--model.init_args.net.stem=linear"
    line = ["fit", "--config", "quickstart/pretrain", "--out", tmp_path / "p", store, *TINY, linear]
    assert fau_mae(*line, f"--model.init_args.init_from={mae}") == 0
    pretrained, teacher = tmp_path / "mae.safetensors", tmp_path / "teacher.safetensors"
    assert fau_mae("save", tmp_path / "p/checkpoints/last.ckpt", "--out", pretrained) == 0
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", linear, init=pretrained) == 0
    last = tmp_path / "t/checkpoints/last.ckpt"
    assert fau_mae("save", last, "--out", teacher) == 0
    assert teacher.stat().st_size < last.stat().st_size / 2  # no optimiser state
    a, b = load_au_model(last), load_au_model(teacher)
    image = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    assert torch.equal(a.model(image).logits, b.model(image).logits)
    assert a.aus == b.aus and a.about.uses_mask == b.about.uses_mask
    assert fau_mae("save", last, "--out", tmp_path / "weights.bin") == 2
    assert "must end in .safetensors" in capsys.readouterr().err
