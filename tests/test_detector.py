"""Blind masks: the detector learns from the suite's masks, and every method that needs a mask gets its estimate."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from fixtures_training import fit, train_detector, train_detector_code

from data_modules.batch import FaceBatch, FaceShape
from data_modules.face_data import FaceDataModule
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.spec import HELD_OUT_SEED, OcclusionSpec
from data_modules.stores.store import FaceStore
from fau_mae.evaluation.ladder import walk_ladder
from fau_mae.evaluation.mask_quality import mask_quality
from fau_mae.evaluation.methods import Method, with_blind
from fau_mae.models.backbone.encoder import BackboneConfig
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.weights.checkpoints import load_detector

FauMae = Callable[..., int]


class GreyFinder(TokenDetector):
    """A perfect detector of grey patches: a token is hidden where every pixel is 127."""

    def __init__(self) -> None:
        super().__init__(BackboneConfig("nano"), FaceShape(48, 4, (), "canonical"))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        cells = (image == 127).float().unflatten(2, (4, 12)).unflatten(4, (4, 12))  # (B, 3, 4, 12, 4, 12)
        return cells.mean((1, 3, 5)).flatten(1) - 0.99


def data_of(store: FaceStore, fill: str = "grey") -> FaceDataModule:
    return FaceDataModule(store.path, num_folds=3, grid=4, batch_size=8, occlusion=OcclusionConfig(fill=fill))


def test_a_checkpoint_adds_blind_rows_to_the_evaluation(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    detector = train_detector(fau_mae, tiny_store, tmp_path / "detector")
    weights = ["--model.init_args.node_weight=0", "--model.init_args.edge_weight=0"]
    assert fit(fau_mae, "dropped", tiny_store, tmp_path / "dropped", *weights) == 0
    line = ["evaluate", "--checkpoint", tmp_path / "dropped/checkpoints/last.ckpt", "--data", tiny_store.path]
    line += ["--out", tmp_path / "out", "--severities", 0.5, "--kinds", "patches"]
    assert fau_mae(*line, "--detector", detector) == 0
    results = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert set(results["mask_source"]) == {"oracle", "blind"} and "blind" in capsys.readouterr().out
    quality = pd.read_parquet(tmp_path / "out/predictions/test/mask_quality.parquet")
    assert quality["kind"].tolist() == ["none", "patches"] and quality["patch_auroc"].notna().tolist() == [
        False,
        True,
    ]
    assert (
        fau_mae(*line[:-4], "--out", tmp_path / "b", "--detector", tmp_path / "dropped/checkpoints/last.ckpt")
        == 2
    )
    assert "not an occlusion detector" in capsys.readouterr().err
    other = train_detector(fau_mae, tiny_store, tmp_path / "other", "--data.grid=3")
    assert fau_mae(*line[:-4], "--out", tmp_path / "c", "--detector", other) == 2
    assert "grid of 3" in capsys.readouterr().err


def test_the_detector_starts_from_a_pretrained_encoder(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    mae = tmp_path / "mae"
    assert fit(fau_mae, "pretrain", tiny_store, mae) == 0
    start = f"--model.init_args.init_from={mae / 'checkpoints/last.ckpt'}"
    still = "--model.init_args.optim.lr=0"
    detector = train_detector(fau_mae, tiny_store, tmp_path / "detector", start, still)
    a, b = (torch.load(p, weights_only=True)["state_dict"] for p in (mae / "checkpoints/last.ckpt", detector))
    for name in a:
        if name.startswith("encoder."):
            assert torch.equal(a[name], b[f"model.{name}"]), name


def test_few_tokens_of_a_whole_face_are_taken_for_hidden(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    """The share of alarms on whole validation faces is the one asked for; any detector would give more or less."""
    checkpoint = train_detector(
        fau_mae, tiny_store, tmp_path / "detector", "--model.init_args.false_alarms=0.25"
    )
    detector = load_detector(checkpoint)
    trained = yaml.safe_load((tmp_path / "detector/config.yaml").read_text())["data"]
    faces = FaceDataModule.from_settings(trained).ladder_dataloader("validation", OcclusionSpec("none", 0.0))
    with torch.inference_mode():
        shown = torch.cat([detector.visible(batch.image).flatten() for batch in faces])  # True = visible
    assert (~shown).float().mean().item() == pytest.approx(0.25, abs=1.5 / len(shown))
    assert train_detector_code(fau_mae, tiny_store, tmp_path / "bad", "--model.init_args.false_alarms=2") == 2
    assert "false_alarms is 2.0: use a number in 0-1" in capsys.readouterr().err


def test_blind_methods_read_the_estimated_mask_and_nothing_else(
    tiny_store: FaceStore, tmp_path: Path
) -> None:
    """What a method was told comes back as its probability: the visible share."""

    def told(batch: FaceBatch) -> torch.Tensor:
        return batch.visible.float().mean(1, keepdim=True).expand(-1, len(data.aus))

    data = data_of(tiny_store)
    checkpoint = tmp_path / "none.ckpt"
    methods = [Method("m", "oracle", checkpoint, told), Method("n", "none", checkpoint, told)]
    assert [(m.name, m.mask_source) for m in with_blind(methods)] == [
        ("m", "oracle"),
        ("m", "blind"),
        ("n", "none"),
    ]
    everything = TokenDetector(BackboneConfig("nano"), FaceShape(48, 4, (), "canonical"))
    torch.nn.init.zeros_(everything.score.weight)
    torch.nn.init.ones_(everything.score.bias)  # finds every token hidden
    for name, detector, wanted in (("grey", GreyFinder(), 0.5), ("all", everything, 0.0)):
        out = tmp_path / name
        walk_ladder(with_blind(methods), data, [OcclusionSpec("patches", 0.5)], out, detector)
        for source, share in (("m-oracle", 0.5), ("n-none", 0.5), ("m-blind", wanted)):
            table = pd.read_parquet(out / f"predictions/test/{source}/patches-0.50.parquet")
            assert table["AU12"].tolist() == pytest.approx([share] * len(table))


def test_mask_quality_is_that_of_the_held_out_pool(tiny_store: FaceStore) -> None:
    device, specs = torch.device("cpu"), [OcclusionSpec("none", 0.0), OcclusionSpec("patches", 0.25)]
    perfect = mask_quality(GreyFinder(), data_of(tiny_store), specs, device)
    assert perfect["patch_auroc"].tolist()[1] == 1 and perfect["iou"].tolist()[1] == 1
    assert perfect["hidden"].tolist() == perfect["estimated"].tolist() == [0, 0.25]
    assert np.isnan(perfect["patch_auroc"][0])
    seeds = set()
    data = data_of(tiny_store)
    loader = data.ladder_dataloader
    data.ladder_dataloader = lambda split, spec: (seeds.add((split, spec.seed)), loader(split, spec))[1]
    blind = mask_quality(GreyFinder(), data, [OcclusionSpec("texture", 0.5)], device)
    assert seeds == {("test", HELD_OUT_SEED)} and blind["iou"][0] == 0


def test_a_mixed_fill_shows_every_fill_and_keeps_the_masks(tiny_store: FaceStore) -> None:
    specs = [OcclusionSpec("patches", 0.5, seed) for seed in range(1, 30)]
    mixed = data_of(tiny_store, "mixed").dataset(augment=False)
    plain = {fill: data_of(tiny_store, fill).dataset(augment=False) for fill in FILLS}
    seen = set()
    for spec in specs:
        face = mixed[0, spec]
        (fill,) = (fill for fill in FILLS if torch.equal(plain[fill][0, spec].image, face.image))
        assert torch.equal(plain[fill][0, spec].visible, face.visible)
        seen.add(fill)
    assert seen == set(FILLS)
