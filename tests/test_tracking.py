"""W&B: what is logged of a results table, and when anything leaves the machine."""

from pathlib import Path

import pandas as pd
import pytest
from fixtures_results import write_experiment

from fau_mae import tracking
from fau_mae.evaluation.scored_run import ScoredRun
from fau_mae.reports import wandb_curves as wandb_log


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return monkeypatch


def test_runs_are_offline_without_a_key_and_online_with_one(
    no_key: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tracking.is_offline()
    no_key.setenv("WANDB_API_KEY", "x" * 40)
    assert not tracking.is_offline()
    no_key.setenv("WANDB_MODE", "offline")
    assert tracking.is_offline()


class _Run:
    name, config = "quickstart/fold1-seed0/teacher", {"experiment": "quickstart"}

    def __init__(self) -> None:
        self.artifacts: list = []

    def log_artifact(self, artifact, aliases: list[str]) -> None:
        self.artifacts.append((artifact, aliases))


def test_the_checkpoint_is_an_artifact_when_online_only(no_key: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.ckpt"
    checkpoint.write_bytes(b"weights")
    run = _Run()
    tracking.log_checkpoint(run, checkpoint)
    assert not run.artifacts
    no_key.setenv("WANDB_API_KEY", "x" * 40)
    tracking.log_checkpoint(run, checkpoint)
    ((artifact, aliases),) = run.artifacts
    assert artifact.type == "model" and artifact.name == "quickstart-fold1-seed0-teacher"
    assert list(artifact.manifest.entries) == ["last.ckpt"] and "last" in aliases


def test_a_stage_taken_up_again_online_goes_on_in_its_run(no_key: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_key.setenv("WANDB_API_KEY", "x" * 40)
    log = lambda: tracking.wandb_logger(tmp_path / "teacher", "q", 1, 0, "disfa", ["block"])  # noqa: E731
    first = log().version
    assert first and log().version == first
    no_key.setenv("WANDB_RUN_ID", "agentrun")
    assert log().version is None  # wandb.init takes the agent's


def test_the_runs_of_a_trial_carry_its_name_and_the_group_of_its_sweep(
    no_key: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_key.setenv("FAU_MAE_TRIAL", "distillation/trial-0003")
    no_key.setenv("WANDB_RUN_GROUP", "distillation")
    no_key.delenv("WANDB_RUN_ID", raising=False)
    run = tracking.evaluation_run(tmp_path / "evaluate", "q", 2, 1, "disfa", [], {})
    with run:
        assert run.name == "distillation/trial-0003/fold2-seed1/evaluate" and run.group == "distillation"


def test_licensed_faces_are_logged_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAU_MAE_LOG_FACES", raising=False)
    assert wandb_log.may_show("synthetic") and not wandb_log.may_show("bp4d")
    monkeypatch.setenv("FAU_MAE_LOG_FACES", "1")
    assert wandb_log.may_show("bp4d")


def test_curves_hold_every_macro_figure_once_with_the_clean_start_of_each_kind(tmp_path: Path) -> None:
    results = pd.read_parquet(write_experiment(tmp_path / "run") / "results.parquet")
    steps = wandb_log.curve_steps(results)
    severities = [step["occlusion/severity"] for step in steps]
    assert severities == sorted(results["severity"].unique()) and severities[0] == 0
    macro = results[(results["au"] == "macro") & (results["kind"] != "none")]
    for row in macro.itertuples():
        step = steps[severities.index(row.severity)]
        name = f"occlusion/{row.kind}/{wandb_log.method_label(row.method, row.mask_source)}"
        assert step[f"{name}/auroc"] == row.auroc and step[f"{name}/f1"] == row.f1
        assert f"{name}/auroc" in steps[0]
    assert wandb_log.validation_scores(ScoredRun(tmp_path)) == {}
