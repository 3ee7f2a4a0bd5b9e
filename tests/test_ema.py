"""Averaged weights (EMA) by Lightning's own callback: what checkpoints and validation hold, and exact resuming."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fixtures_training import LONG, SAVE_EVERY_STEP, fit, power_cut

from data_modules.stores.store import FaceStore
from fau_mae.weights.checkpoints import load_mae

FauMae = Callable[..., int]


def ema(decay: float) -> str:
    path = "lightning.pytorch.callbacks.EMAWeightAveraging"
    return f'--trainer.callbacks=[{{"class_path": "{path}", "init_args": {{"decay": {decay}}}}}]'


def checkpoint(out: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(out / "checkpoints" / f"{name}.ckpt", weights_only=True)


def test_checkpoints_hold_the_average_and_training_is_left_alone(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    """Two steps: decay 1 keeps the first step's weights, decay 0 the second's, .5 their mean, in last and best."""
    for decay in (0.0, 0.5, 1.0):
        assert fit(fau_mae, "pretrain", tiny_store, tmp_path / str(decay), ema(decay)) == 0
    assert fit(fau_mae, "pretrain", tiny_store, tmp_path / "plain") == 0
    plain = checkpoint(tmp_path / "plain")["state_dict"]
    for name in ("last", "best"):
        none, half, all_ = (checkpoint(tmp_path / str(decay), name) for decay in (0.0, 0.5, 1.0))
        for weight, value in plain.items():
            torch.testing.assert_close(half["current_model_state"][weight], value)  # what is trained on
            torch.testing.assert_close(none["state_dict"][weight], value)
            mean = (none["state_dict"][weight] + all_["state_dict"][weight]) / 2
            torch.testing.assert_close(half["state_dict"][weight], mean)
        assert any(not torch.equal(all_["state_dict"][weight], plain[weight]) for weight in plain)
    encoder, _ = load_mae(tmp_path / "0.5/checkpoints/last.ckpt")
    assert torch.equal(
        encoder.blocks[0].mlp.fc1.weight, half["state_dict"]["encoder.blocks.0.mlp.fc1.weight"]
    )


@pytest.mark.parametrize("inside", [False, True], ids=["epochs", "steps"])
def test_resuming_keeps_the_averages_to_the_bit(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, inside: bool
) -> None:
    whole, pieces = tmp_path / "whole" / "teacher", tmp_path / "pieces" / "teacher"
    more = [*LONG, ema(0.8), *([SAVE_EVERY_STEP] if inside else [])]
    assert fit(fau_mae, "teacher", tiny_store, whole, *more) == 0
    with power_cut(1, 2 if inside else 0), pytest.raises(RuntimeError, match="power cut"):
        fit(fau_mae, "teacher", tiny_store, pieces, *more)
    last = pieces / "checkpoints" / "last.ckpt"
    assert fit(fau_mae, "teacher", tiny_store, pieces, *more, f"--ckpt_path={last}") == 0
    a, b = checkpoint(whole), checkpoint(pieces)
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert a[key].keys() == b[key].keys()
        assert all(torch.equal(a[key][name], b[key][name]) for name in a[key]), key
    assert any(not torch.equal(a["state_dict"][n], a["current_model_state"][n]) for n in a["state_dict"])


def test_sharded_models_are_refused(fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys) -> None:
    more = ["--trainer.strategy=sharded", "--trainer.accelerator=cpu"]
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", ema(0.9), *more) == 2
    assert "another strategy than sharded" in capsys.readouterr().err
