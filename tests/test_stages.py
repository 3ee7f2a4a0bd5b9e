"""Every shipped stage through the real command line on tiny data; resume, W&B, two processes, bad input."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TINY

from data_modules.store import FaceStore
from fau_mae.runs import experiments_root, load_experiment

FauMae = Callable[..., int]
QUICKSTART = experiments_root() / "quickstart"
STAGES = list(load_experiment("quickstart").stages)


def fit(
    fau_mae: FauMae, stage: str, store: FaceStore, out: Path, *more: str, init: Path | None = None
) -> int:
    """One quickstart stage on the tiny store, from scratch unless `init` is given."""
    arguments = [
        "fit",
        "--config",
        QUICKSTART / f"{stage}.yaml",
        "--out",
        out,
        f"--data.store={store.path}",
        *TINY,
    ]
    if stage != "pretrain":
        arguments.append(f"--model.init_args.init_from={init or 'null'}")
    if stage == "student":
        arguments.append(f"--model.init_args.teacher={init}")
    return fau_mae(*arguments, *more)


def losses(out: Path) -> list[float]:
    with (out / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.fixture(scope="session")
def teacher(tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a teacher, hardly trained."""
    from fau_mae.cli import main

    out = tmp_path_factory.mktemp("teacher") / "teacher"
    assert fit(lambda *a: main([str(x) for x in a]), "teacher", tiny_store, out) == 0
    return out / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("stage", STAGES)
def test_every_quickstart_stage_trains(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, tmp_path: Path, stage: str
) -> None:
    out = tmp_path / "fold1-seed0" / stage
    init = teacher if stage in ("augmented", "dropped", "student") else None
    assert fit(fau_mae, stage, tiny_store, out, init=init) == 0
    assert (out / "finished").exists() and (out / "checkpoints" / "best.ckpt").exists()
    assert len(losses(out)) == 2
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["model"]["init_args"]["size"] == "nano" and config["data"]["num_folds"] == 3


def test_the_offline_wandb_run_holds_metrics_and_the_whole_config(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    out = tmp_path / "fold1-seed0" / "teacher"
    assert fit(fau_mae, "teacher", tiny_store, out) == 0
    (run,) = out.glob("wandb/offline-run-*/*.wandb")
    shown = subprocess.run(
        [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", run],
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    for words in (
        "train/loss",
        "val/auroc",
        "num_folds",
        "layer_decay",
        "gradient_clip_val",
        "fau_mae.tasks.Teacher",
    ):
        assert words in shown.stdout


@pytest.mark.parametrize("stage", ["pretrain", "augmented"])
def test_a_resumed_stage_equals_an_uninterrupted_one(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, stage: str
) -> None:
    """Three epochs at once, and the same three interrupted after each: weights agree to the bit."""
    whole, pieces = tmp_path / "whole" / stage, tmp_path / "pieces" / stage
    assert fit(fau_mae, stage, tiny_store, whole, "--trainer.max_epochs=3") == 0

    from fau_mae.tasks import pretrain

    seen = []
    reseed = pretrain.reseed_epoch
    monkey = pytest.MonkeyPatch()

    def interrupt(module) -> None:
        reseed(module)
        if module.current_epoch == len(seen) + 1:
            seen.append(module.current_epoch)
            raise RuntimeError("power cut")

    for target in ("fau_mae.tasks.pretrain", "fau_mae.tasks.au_task"):
        monkey.setattr(f"{target}.reseed_epoch", interrupt)
    last = pieces / "checkpoints" / "last.ckpt"
    for expected in (1, 2):
        resume = [f"--ckpt_path={last}"] if last.exists() else []
        with pytest.raises(RuntimeError, match="power cut"):
            fit(fau_mae, stage, tiny_store, pieces, "--trainer.max_epochs=3", *resume)
        assert len(seen) == expected and not (pieces / "finished").exists()
    monkey.undo()
    assert fit(fau_mae, stage, tiny_store, pieces, "--trainer.max_epochs=3", f"--ckpt_path={last}") == 0
    a, b = (torch.load(p / "checkpoints" / "last.ckpt", weights_only=True) for p in (whole, pieces))
    assert losses(pieces) == losses(whole) and not list(pieces.glob("metrics.part*"))
    assert a["global_step"] == b["global_step"] == 6
    assert all(torch.equal(a["state_dict"][name], b["state_dict"][name]) for name in a["state_dict"])


def test_two_processes_have_the_losses_of_one(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, tmp_path: Path
) -> None:
    """DDP over two CPU processes, half the batch each."""
    common = ["--trainer.accelerator=cpu", "--trainer.limit_train_batches=3"]
    one, two = tmp_path / "one" / "student", tmp_path / "two" / "student"
    assert fit(fau_mae, "student", tiny_store, one, *common, init=teacher) == 0
    line = [sys.executable, "-m", "fau_mae.cli", "fit", "--config", QUICKSTART / "student.yaml", "--out", two]
    line += [f"--data.store={tiny_store.path}", *TINY, *common, "--data.batch_size=2"]
    line += [f"--model.init_args.init_from={teacher}", f"--model.init_args.teacher={teacher}"]
    line += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    done = subprocess.run(
        [str(word) for word in line],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses(two) == pytest.approx(losses(one), abs=1e-4) and len(losses(one)) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--data.nothing=1"], "nothing"),
        (["--data.store=nowhere"], "not a store"),
        (["--model.init_args.init_from=nowhere.ckpt"], "nowhere.ckpt does not exist"),
        (["--data.batch_size=5000"], "lower the batch size"),
    ],
)
def test_wrong_settings_end_in_one_line_and_exit_code_2(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, change: list[str], words: str
) -> None:
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", *change) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("fau-mae: ") and words in last
    assert not (tmp_path / "t" / "finished").exists()


def test_an_unknown_key_in_a_config_file_names_it(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    shutil.copytree(QUICKSTART, tmp_path / "mine")
    path = tmp_path / "mine" / "teacher.yaml"
    path.write_text(path.read_text().replace("gradient_clip_val", "gradient_clip_vall"))
    assert fau_mae("fit", "--config", path, "--out", tmp_path / "t") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "gradient_clip_vall" in line and "did you mean" in line


def test_a_checkpoint_of_another_shape_is_refused(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, tmp_path: Path, capsys
) -> None:
    assert (
        fit(fau_mae, "teacher", tiny_store, tmp_path / "t", "--model.init_args.stem=linear", init=teacher)
        == 2
    )
    assert "stem" in capsys.readouterr().err
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", "--data.grid=3", init=teacher) == 2
    assert "shape" in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint_is_refused(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    junk = tmp_path / "junk.ckpt"
    junk.write_text(json.dumps({"not": "weights"}))
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "t", init=junk) == 2
    assert "not a fau_mae checkpoint" in capsys.readouterr().err


def test_the_teacher_is_neither_trained_nor_kept_in_the_student(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, tmp_path: Path
) -> None:
    before = teacher.read_bytes()
    assert fit(fau_mae, "student", tiny_store, tmp_path / "s", init=teacher) == 0
    student = torch.load(tmp_path / "s/checkpoints/last.ckpt", weights_only=True)
    start = torch.load(teacher, weights_only=True)
    assert teacher.read_bytes() == before
    assert student["state_dict"].keys() == start["state_dict"].keys()
    trained = sum(len(group["params"]) for group in student["optimizer_states"][0]["param_groups"])
    assert trained == len([name for name in start["state_dict"] if _is_trained(name)])


def _is_trained(name: str) -> bool:
    """Weights of the AU model that want gradients: all but buffers and the encoder's unused last norm."""
    return not name.endswith(("pos_embed", "pixel_mean", "pixel_std")) and "encoder.norm" not in name
