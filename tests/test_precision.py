"""Every precision trains with clipped gradients, or is refused in one line; the shipped recipes run as they are."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from fixtures_training import fit, losses

from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]
TRAINED = ["bf16-mixed", "32-true"]


@pytest.mark.parametrize("stage", ["pretrain", "teacher", "detector"])
@pytest.mark.parametrize("precision", TRAINED)
def test_a_stage_trains_in_this_precision(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, no_wandb, precision: str, stage: str
) -> None:
    out = tmp_path / stage
    assert fit(fau_mae, stage, tiny_store, out, f"--trainer.precision={precision}") == 0
    assert yaml.safe_load((out / "config.yaml").read_text())["trainer"]["gradient_clip_val"] == 1.0
    assert len(losses(out)) == 2 and all(loss == loss for loss in losses(out))


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_true_half_and_double_precision_are_refused_in_one_line(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, no_wandb, capsys, precision: str
) -> None:
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", f"--trainer.precision={precision}") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("fau-mae: ") and f"{precision} is not supported: use 32-true or bf16-mixed" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="half precision trains on a GPU")
def test_half_precision_without_a_gpu_trains_or_is_refused_in_one_line(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, no_wandb, capsys
) -> None:
    code = fit(fau_mae, "teacher", tiny_store, tmp_path / "t", "--trainer.precision=16-mixed")
    error = capsys.readouterr().err.strip()
    assert code == 0 or (code == 2 and error.splitlines()[-1].startswith("fau-mae: "))
