"""Every shipped stage through the real command line on tiny data; resume, W&B, two processes, bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TINY
from fixtures_training import (
    LONG,
    SAVE_EVERY_STEP,
    STAGES,
    FauMae,
    assert_same_training,
    fit,
    losses,
    power_cut,
)
from fixtures_wandb import offline_records, summary

from data_modules.stores.store import FaceStore
from fau_mae.runs.plan import read_stage


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
    assert config["model"]["init_args"]["net"]["size"] == "nano" and config["data"]["num_folds"] == 3


def test_the_offline_wandb_run_holds_metrics_and_the_whole_config(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "fold1-seed0" / "teacher"
    assert fit(fau_mae, "teacher", tiny_store, out) == 0
    assert f"wandb sync {out}" in capsys.readouterr().out
    (run,) = offline_records(out)["run"]
    assert run["run_group"] == "quickstart/fold1-seed0" and run["job_type"] == "teacher"
    assert run["tags"] == ["synthetic", "clean"] and run["display_name"] == "quickstart/fold1-seed0/teacher"
    shown = summary(out)
    rate = {"global_batch": 4, "peak_lr": 2e-3 * 4 / 32}
    net = shown["config"]["model"]["init_args"]["net"]
    net |= {f"{part}_options": {} for part in ("stem", "hidden", "head")}  # W&B leaves empty mappings out
    assert shown["config"] == yaml.safe_load((out / "config.yaml").read_text()) | rate
    assert {"train/loss", "val/auroc", "val/f1"} <= shown["summary"].keys()


@pytest.mark.parametrize(
    ("stage", "more"),
    [
        ("pretrain", ["--model.init_args.net.decoder=cross", "--model.init_args.net.target=both"]),
        (
            "augmented",
            ["--model.init_args.net.drop_path=0.3", "--model.init_args.net.head_options.dropout=0.2"],
        ),
        ("student", ["--model.init_args.net.drop_path=0.3", "--data.num_workers=1"]),
    ],
)
@pytest.mark.parametrize("inside", [False, True], ids=["epochs", "steps"])
def test_a_resumed_stage_equals_an_uninterrupted_one(
    fau_mae: FauMae,
    tiny_store: FaceStore,
    teacher: Path,
    tmp_path: Path,
    stage: str,
    more: list[str],
    inside: bool,
) -> None:
    """Interrupted at two epoch borders, or in the middle of two epochs with every step saved: equal to the bit."""
    whole, pieces = tmp_path / "whole" / stage, tmp_path / "pieces" / stage
    more = [*LONG, *more, *([SAVE_EVERY_STEP] if inside else [])]
    assert fit(fau_mae, stage, tiny_store, whole, *more, init=teacher) == 0
    for cut in ((0, 2), (1, 1)) if inside else ((1, 0), (2, 0)):
        with power_cut(*cut), pytest.raises(RuntimeError, match="power cut"):
            fit(fau_mae, stage, tiny_store, pieces, *more, "--ckpt_path=last", init=teacher)
        assert not (pieces / "finished").exists()
    assert fit(fau_mae, stage, tiny_store, pieces, *more, "--ckpt_path=last", init=teacher) == 0
    assert_same_training(whole, pieces)
    assert not list(pieces.glob("metrics.part*")) and not list(pieces.rglob("*.aside"))


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_checkpoint_needs_nothing_of_what_it_started_from(
    fau_mae: FauMae, no_wandb: None, tiny_store: FaceStore, teacher: Path, command: str
) -> None:
    line = [command, "--config", "quickstart/teacher", f"--data.store={tiny_store.path}", *TINY]
    assert fau_mae(*line, f"--ckpt_path={teacher}", "--model.init_args.init_from=gone.ckpt", "--out=o") == 0


def test_two_processes_have_the_losses_of_one(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, tmp_path: Path
) -> None:
    """DDP over two CPU processes, half the batch each."""
    common = ["--trainer.accelerator=cpu", "--trainer.limit_train_batches=3"]
    one, two = tmp_path / "one" / "student", tmp_path / "two" / "student"
    assert fit(fau_mae, "student", tiny_store, one, *common, init=teacher) == 0
    line = [sys.executable, "-m", "fau_mae.cli", "fit", "--config", "quickstart/student", "--out", two]
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
    path = tmp_path / "teacher.yaml"
    path.write_text(yaml.safe_dump(read_stage("quickstart/teacher")).replace("max_epochs", "max_epochss"))
    assert fau_mae("fit", "--config", path, "--out", tmp_path / "t") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "max_epochss" in line and "did you mean 'trainer.max_epochs'?" in line


@pytest.mark.parametrize(
    ("key", "known"), [("size", "micro"), ("stem", "gradient"), ("decoder", "cross"), ("target", "both")]
)
def test_an_unknown_part_of_the_autoencoder_is_named_with_those_there_are(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, key: str, known: str
) -> None:
    assert fit(fau_mae, "pretrain", tiny_store, tmp_path / "t", f"--model.init_args.net.{key}=conv") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{key} is 'conv'" in line and known in line


def test_a_checkpoint_of_another_shape_is_refused(
    fau_mae: FauMae, tiny_store: FaceStore, teacher: Path, tmp_path: Path, capsys
) -> None:
    assert (
        fit(fau_mae, "teacher", tiny_store, tmp_path / "t", "--model.init_args.net.stem=linear", init=teacher)
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
