"""`fau-mae run` from end to end on tiny data: interrupted, resumed, done, refused; then `evaluate` and `detect`."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY
from fixtures_datasets import write_disfa
from fixtures_results import count_reads
from fixtures_wandb import offline_records, summary
from skimage.data import astronaut

from data_modules.face_data import FaceDataModule
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.stores.store import FaceStore, encode_image
from fau_mae.models.backbone.reconstruction import reconstruct
from fau_mae.run_folder import read_memory, write_memory
from fau_mae.runs import runner, steps
from fau_mae.runs.config_files import experiments_root
from fau_mae.runs.experiment import load_experiment
from fau_mae.weights.checkpoints import load_au_model, load_mae

FauMae = Callable[..., int]
TINY_RUN = [word for flag in TINY for word in ("--set", flag.removeprefix("--"))]
TINY_RUN += ["--set", "ladder.severities=[0.5]"]


def run(fau_mae: FauMae, store: FaceStore, out: Path, *more: str) -> int:
    return fau_mae("run", "quickstart", "--store", store.path, "--out", out, *TINY_RUN, *more)


@pytest.fixture(scope="module")
def done(tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny quickstart, interrupted twice on its way: between two stages and inside the sweep."""
    from fau_mae.cli import main
    from fau_mae.evaluation import ladder

    out = tmp_path_factory.mktemp("runs") / "quickstart"
    go = lambda: run(lambda *a: main([str(x) for x in a]), tiny_store, out)  # noqa: E731
    monkey = pytest.MonkeyPatch()
    launch = steps.launch
    monkey.setattr(steps, "launch", lambda stage: launch(stage) if stage.name != "teacher" else _cut())
    with pytest.raises(RuntimeError, match="power cut"):
        go()
    assert (out / "fold1-seed0/pretrain/finished").exists() and not (out / "fold1-seed0/teacher").exists()
    monkey.undo()
    monkey.setattr(ladder, "write_examples", lambda *_: _cut())
    with pytest.raises(RuntimeError, match="power cut"):
        go()
    monkey.undo()
    assert go() == 0
    return out


def _cut() -> None:
    raise RuntimeError("power cut")


def test_the_run_leaves_what_the_readme_promises(done: Path) -> None:
    results = pd.read_parquet(done / "results.parquet")
    assert set(results["method"]) == {"clean", "reconstruct", "augmented", "dropped", "student"}
    sources = results.groupby("method")["mask_source"].agg(set).to_dict()
    assert sources["clean"] == sources["augmented"] == {"none"}
    assert all(sources[told] == {"oracle"} for told in ("reconstruct", "dropped", "student"))
    assert set(results["kind"]) == {"none", "patches", "block"} and set(results["severity"]) == {0.0, 0.5}
    assert (done / "report.html").stat().st_size < 10_000_000 and (done / "curves.png").exists()
    assert (done / "fold1-seed0/predictions/test/examples.parquet").exists()


def _apart(stored: bytes, picture: torch.Tensor) -> float:
    """Mean grey levels between an example and a picture (3, H, W) written as examples are."""
    written = encode_image(cv2.resize(picture.permute(1, 2, 0).numpy(), (96, 96)), "jpeg85")
    one, other = (
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB) for jpeg in (stored, written)
    )
    return float(np.abs(one.astype(int) - other).mean())


def test_examples_hold_the_picture_that_reconstruct_reads(done: Path) -> None:
    folder = done / "fold1-seed0"
    examples = pd.read_parquet(folder / "predictions/test/examples.parquet")
    assert (examples["reconstruction"].isna() == (examples["severity"] == 0)).all()
    trained = yaml.safe_load((folder / "teacher/config.yaml").read_text())["data"]
    data = FaceDataModule.from_settings(trained, occlusion=OcclusionConfig())
    mae = load_mae(folder / "pretrain/checkpoints/last.ckpt")
    teacher = load_au_model(folder / "teacher/checkpoints/last.ckpt").model
    for kind in ("patches", "block"):
        example = examples[examples["kind"] == kind].iloc[0]
        row = int((data.store.column("sample_id") == example["sample_id"]).argmax())
        face = data.dataset(augment=False)[row, OcclusionSpec(kind, 0.5)]
        with torch.inference_mode():
            filled = reconstruct(*mae, face.image[None], face.visible[None])
            said = teacher(filled, None).logits.sigmoid()[0]
        assert _apart(example["reconstruction"], filled[0]) < 0.1
        assert _apart(example["reconstruction"], face.image) > 3
        probabilities = json.loads(example["probabilities"])
        assert list(probabilities["reconstruct"].values()) == pytest.approx(said.tolist(), abs=1e-5)
        assert probabilities["reconstruct"] != probabilities["clean"]


def test_a_finished_run_says_so_at_once(
    fau_mae: FauMae, tiny_store: FaceStore, done: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "train", lambda *_: _cut())
    assert run(fau_mae, tiny_store, done) == 0
    out = capsys.readouterr().out
    assert "done already" in out and "student" in out and "report.html" in out
    assert f"wandb sync {done}/*/*/wandb/offline-run-*" in out


def test_a_summary_reads_every_predictions_file_once(
    fau_mae: FauMae, tiny_store: FaceStore, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    shutil.copytree(done, out)
    write_memory(out, replace(read_memory(out), done=[]))
    reads = count_reads(monkeypatch)
    assert run(fau_mae, tiny_store, out) == 0
    there = {str(path) for path in out.glob("*/predictions/*/*-*/*.parquet")}
    assert set(reads) == there and set(reads.values()) == {1}
    before, after = (pd.read_parquet(folder / "results.parquet") for folder in (done, out))
    pd.testing.assert_frame_equal(after, before)
    assert (out / "folds.csv").read_text() == (done / "folds.csv").read_text()


def test_the_ladder_is_one_offline_wandb_run_with_severity_as_its_axis(done: Path) -> None:
    folder = done / "fold1-seed0" / "evaluate"
    records = offline_records(folder)
    (logged,) = records["run"]
    assert logged["run_group"] == "quickstart/fold1-seed0" and logged["job_type"] == "evaluate"
    assert logged["tags"] == ["synthetic", "patches", "block"]
    axes = {m["glob_name"]: m["step_metric"] for m in records["metric"] if "glob_name" in m}
    assert axes == {"occlusion/*": "occlusion/severity"}
    curves = [h["item"] for h in records["history"] if "occlusion/severity" in h["item"]]
    assert [item["occlusion/severity"] for item in curves] == [0, 0.5]
    assert all("occlusion/block/student-oracle/auroc" in item for item in curves)
    assert all("clean:" in text for text in curves[1]["occlusion/patches/faces.captions"])
    shown = summary(folder)
    assert shown["config"]["fold"] == 1 and shown["config"]["ladder"]["severities"] == [0.5]
    assert {"au/student-oracle/AU12", "val/clean/auroc"} <= shown["summary"].keys()
    assert shown["summary"]["results"]["nrows"] == len(pd.read_parquet(done / "results.parquet"))
    (table,) = folder.glob("wandb/offline-run-*/files/media/table/*.json")
    assert {"method", "kind", "severity", "au", "f1", "label"} <= set(
        json.loads(table.read_text())["columns"]
    )
    others = {run.parent.parent.name for run in done.glob("fold1-seed0/*/wandb/offline-run-*")}
    assert others == {"pretrain", "teacher", "augmented", "dropped", "student", "evaluate"}


def test_under_an_agent_its_run_gets_the_scores_of_the_whole_run(
    fau_mae: FauMae, tiny_store: FaceStore, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "agentrun")
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("FAU_MAE_TRIAL", "")  # put back after the test
    assert run(fau_mae, tiny_store, done) == 0
    (logged,) = offline_records(done)["run"]
    assert logged["run_id"] == "agentrun" and logged["sweep_id"] == "sweep1"
    scores = json.loads((done / "metrics.json").read_text())
    assert scores.keys() == {
        f"val/{name}/auroc"
        for name in ("clean", "augmented", "reconstruct-oracle", "dropped-oracle", "student-oracle")
    }
    assert summary(done)["summary"].items() >= scores.items()


def test_a_dry_run_says_what_is_done_and_writes_nothing(
    fau_mae: FauMae, tiny_store: FaceStore, done: Path, tmp_path: Path, capsys
) -> None:
    before = sorted(done.rglob("*"))
    (done / "fold1-seed0/student/finished").rename(done / "fold1-seed0/student/aside")
    assert run(fau_mae, tiny_store, done, "--dry-run", "--seeds", "0,1") == 0
    (done / "fold1-seed0/student/aside").rename(done / "fold1-seed0/student/finished")
    text = capsys.readouterr().out
    assert "fold1-seed0 teacher: done" in text and "fold1-seed1 teacher: to do" in text
    assert "fold1-seed0 student: resumes in epoch 0 after step 2" in text
    assert "fold1-seed0 ladder: begun, 30 prediction" in text and "fold1-seed1 ladder: to do" in text
    assert sorted(done.rglob("*")) == before
    assert fau_mae("run", "quickstart", "--dry-run") == 0
    assert "fau-mae prepare synthetic --out runs/quickstart/store --identities 300" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_line_of_the_dry_run_trains_its_stage(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    assert run(fau_mae, tiny_store, tmp_path / "r", "--dry-run") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("    fau-mae")]
    stages = [line[3] for line in lines if line[1] == "fit"]
    assert stages == [f"quickstart/{s}" for s in load_experiment("quickstart").trained()]
    assert fau_mae(*lines[0][1:]) == 0
    assert run(fau_mae, tiny_store, tmp_path / "r", "--dry-run") == 0
    assert "fold1-seed0 pretrain: done" in capsys.readouterr().out


def test_another_training_in_the_same_folder_is_refused_and_named(
    fau_mae: FauMae, tiny_store: FaceStore, done: Path, capsys
) -> None:
    more = ["--set", "student.trainer.max_epochs=2", "teacher.model.init_args.optim.lr=0.5"]
    for dry in ([], ["--dry-run"]):
        assert run(fau_mae, tiny_store, done, *more, *dry) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "student.trainer.max_epochs 1 (now 2)" in line
        assert "teacher.model.init_args.optim.lr 0.002 (now 0.5)" in line
    assert fau_mae("run", "quickstart", "--out", done, *TINY_RUN) == 2  # without --store
    assert f"store {str(tiny_store.path)!r} (now None)" in capsys.readouterr().err


def test_the_ladder_is_not_the_training(
    fau_mae: FauMae, tiny_store: FaceStore, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other rungs, fill, thresholds, methods: no stage is trained, what still fits stays, nothing else is scored."""
    shutil.copytree(done, out := tmp_path / "r")
    shutil.copytree(experiments_root() / "quickstart", mine := tmp_path / "quickstart")
    monkeypatch.setattr(steps, "launch", lambda *_: _cut())
    before = pd.read_parquet(out / "results.parquet")
    folder = out / "fold1-seed0/predictions/test"
    stamps = lambda: {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.glob("*-*/*.parquet")}  # noqa: E731
    first = stamps()

    def again(*more: str) -> pd.DataFrame:
        assert run(fau_mae, tiny_store, out, *more) == 0
        return pd.read_parquet(out / "results.parquet")

    wider = again("--set", "ladder.severities=[0.25,0.5]")
    assert set(wider["severity"]) == {0, 0.25, 0.5} and first.items() < stamps().items()
    rows = wider[wider["severity"] != 0.25].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, before.reset_index(drop=True))
    fixed = again("--set", "ladder.thresholds=fixed")
    assert set(fixed["threshold"].dropna()) == {0.5} and stamps() == first
    assert set(fixed["severity"]) == {0, 0.5}  # not those of the wider one
    mean = again("--set", "ladder.fill=mean")
    assert not set(stamps().values()) & set(first.values())
    seen = mean.query("method == 'clean' and severity > 0")["auroc"].to_numpy()
    assert not np.allclose(seen, before.query("method == 'clean' and severity > 0")["auroc"], equal_nan=True)

    second = stamps()
    text = (mine / "experiment.yaml").read_text()
    methods = "methods: {dropped: null, student: {reads_with: dropped}, again: {reads_with: student}}\n"
    (mine / "experiment.yaml").write_text(text + methods)
    other = again("--set", "ladder.fill=mean")
    assert set(other["method"]) == {"clean", "reconstruct", "augmented", "student", "again"}
    kept = {
        path: stamp
        for path, stamp in stamps().items()
        if path.parent.name.startswith(("clean", "aug", "rec"))
    }
    assert kept.items() <= second.items() and len(kept) == 9
    for name, was in (("student", "dropped"), ("again", "student")):
        scores = other[other["method"] == name]["auroc"].to_numpy()
        np.testing.assert_array_equal(scores, mean[mean["method"] == was]["auroc"].to_numpy())
    assert (out / "run.json").read_text().count("ladder.fill=mean") == 1


def test_a_stage_that_has_not_begun_may_change(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    assert run(fau_mae, tiny_store, tmp_path / "r", "--stage", "pretrain") == 0
    assert run(fau_mae, tiny_store, tmp_path / "r", "--dry-run", "--set", "teacher.trainer.max_epochs=3") == 0
    assert "pretrain: done" in capsys.readouterr().out
    assert run(fau_mae, tiny_store, tmp_path / "r", "--dry-run", "--set", "trainer.max_epochs=3") == 2
    assert "pretrain.trainer.max_epochs 1 (now 3)" in capsys.readouterr().err


def test_a_folder_of_an_older_version_is_refused_in_one_line(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    """Its `run.json` held settings by other names; its stages are as they were."""
    stages = {"pretrain": {}, "teacher": {"init_from": "pretrain"}}
    settings = {"name": "quickstart", "prepare": {"source": "synthetic"}, "stages": stages, "store": None}
    settings |= {"methods": {"clean": ["teacher"]}, "ladder": {}, "ablations": {}, "options": {}, "mae": None}
    (tmp_path / "r/fold1-seed0/pretrain").mkdir(parents=True)
    text = json.dumps({"settings": settings, "done": [], "ablated": []})
    (tmp_path / "r/run.json").write_text(text)
    for more in ([], ["--dry-run"], ["--stage", "teacher"]):
        assert fau_mae("run", "quickstart", "--out", "r", *more) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "older version" in line and "another --out" in line
    assert (tmp_path / "r/run.json").read_text() == text
    (tmp_path / "r/run.json").write_text("{")
    assert fau_mae("run", "quickstart", "--out", "r") == 2
    assert "run.json is damaged" in capsys.readouterr().err


def test_evaluate_gives_the_probabilities_of_the_run(
    fau_mae: FauMae, tiny_store: FaceStore, done: Path, tmp_path: Path
) -> None:
    checkpoint = done / "fold1-seed0/student/checkpoints/last.ckpt"
    arguments = ["--checkpoint", checkpoint, "--data", tiny_store.path, "--out", tmp_path / "e"]
    assert fau_mae("evaluate", *arguments, "--kinds", "block", "--severities", "0.5") == 0
    cell = "predictions/test/student-oracle/block-0.50.parquet"
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "e" / cell), pd.read_parquet(done / "fold1-seed0" / cell), atol=1e-5
    )


def test_detect_reads_a_photo(fau_mae: FauMae, done: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    checkpoint = done / "fold1-seed0/student/checkpoints/last.ckpt"
    assert fau_mae("detect", tmp_path / "photo.png", "--out", tmp_path / "d", "--checkpoint", checkpoint) == 0
    table = pd.read_csv(tmp_path / "d" / "aus.csv")
    assert len(table) == 1 and table["AU12"].between(0, 1).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nosuch"], "no experiment"),
        (["run", "quickstart", "--set", "nonsense"], "KEY=VALUE"),
        (["run", "quickstart", "--set", "ladder.kind=x"], "did you mean 'kinds'"),
        (["detect", "photo.png", "--out", "d"], "photo.png"),
        (["evaluate", "--checkpoint", "x", "--data", "y", "--out", "z"], "does not exist"),
        (["prepare", "disfa", "--root", "nowhere", "--out", "s"], "nowhere"),
        (["prepare", "synthetic", "--identities", "0", "--out", "s"], "identities"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(
    fau_mae: FauMae, tmp_path: Path, capsys, arguments: list[str], words: str
) -> None:
    assert fau_mae(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("fau-mae: ") and words in line
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_disfa_goes_from_its_layout_on_disk_to_results(fau_mae: FauMae, tmp_path: Path) -> None:
    write_disfa(tmp_path / "disfa", frames=8)
    store, out = tmp_path / "store", tmp_path / "run"
    assert fau_mae("prepare", "disfa", "--root", tmp_path / "disfa", "--out", store, "--size", 48) == 0
    assert fau_mae("run", "quickstart", "--store", store, "--out", out, *TINY_RUN, "--folds", "1,3") == 0
    results = pd.read_parquet(out / "results.parquet")
    assert set(results["dataset"]) == {"disfa"} and set(results["fold"]) == {1, 3}
    assert set(results["au"]) == {"AU1", "AU2", "AU4", "AU6", "AU9", "AU12", "AU25", "AU26", "macro"}
    folds = {
        fold: pd.read_parquet(out / f"fold{fold}-seed0/predictions/test/labels.parquet") for fold in (1, 3)
    }
    assert set(folds[1]["subject"]) == {"SN003"} and set(folds[3]["subject"]) == {"SN001"}  # published parts


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "Videos_LeftCamera/LeftVideoSN003_comp.avi").write_bytes(b"no video"), "SN003"),
        (
            lambda root: (root / "ActionUnit_Labels/SN003/SN003_au4.txt").write_text("1,0,5\n"),
            "SN003_au4.txt",
        ),
    ],
    ids=["corrupt video", "wrong column count"],
)
def test_a_spoilt_disfa_tree_is_named_and_nothing_is_half_written(
    fau_mae: FauMae, tmp_path: Path, capsys, spoil: Callable, words: str
) -> None:
    spoil(write_disfa(tmp_path / "disfa", frames=3))
    assert (
        fau_mae("prepare", "disfa", "--root", tmp_path / "disfa", "--out", tmp_path / "s", "--size", 48) == 2
    )
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("fau-mae: ") and words in line
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_run_over_two_processes_gives_one_set_of_rows(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path
) -> None:
    """The README's way to more devices: each stage is started in a process of its own."""
    more = ["--set", "trainer.devices=2", "--set", "trainer.strategy=ddp", "--set", "trainer.accelerator=cpu"]
    assert run(fau_mae, tiny_store, tmp_path / "run", *more) == 0
    results = pd.read_parquet(tmp_path / "run" / "results.parquet")
    keys = ["method", "mask_source", "kind", "severity", "au"]
    assert len(results) and not results.duplicated(keys).any()
    assert (results[results["au"] != "macro"]["n"] == 12).all()
