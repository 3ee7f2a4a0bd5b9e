"""Predictions know what made them: those of two checkpoints, tables or trainings are never reported as one's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import refused
from fixtures_results import write_experiment
from fixtures_training import fit

from data_modules.stores.store import FaceStore
from data_modules.synthetic import prepare_synthetic

FauMae = Callable[..., int]
ONE = ["--kinds", "patches", "--severities", 0.5]


def state(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def evaluated(teacher: Path, tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the teacher's predictions."""
    from fau_mae.evaluation.evaluate import evaluate

    out = tmp_path_factory.mktemp("evaluated") / "e"
    evaluate(teacher, tiny_store.path, out, kinds=["patches"], severities=[0.5])
    return out


@pytest.fixture(scope="module")
def other(teacher: Path, tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another teacher, in a folder of the same name: other weights, nothing else."""
    from fau_mae.cli import main

    out = tmp_path_factory.mktemp("other") / "teacher"
    more = ("--model.init_args.optim.lr=0.01",)
    assert fit(lambda *a: main([str(x) for x in a]), "teacher", tiny_store, out, *more) == 0
    return out / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        (["--fill", "noise"], "fill grey (now noise)"),
        (
            ["--severities", 0.5, 0.75],
            "ladder none-0.00 patches-0.50 (now none-0.00 patches-0.50 patches-0.75)",
        ),
        (["--kinds", "block"], "ladder none-0.00 patches-0.50 (now none-0.00 block-0.50)"),
    ],
)
def test_another_evaluation_in_the_same_folder_is_refused_and_named(
    fau_mae: FauMae, capsys, evaluated: Path, teacher: Path, tiny_store: FaceStore, more: list, differs: str
) -> None:
    before = state(evaluated)
    line = ["evaluate", "--checkpoint", teacher, "--data", tiny_store.path, "--out", evaluated, *ONE]
    said = refused(fau_mae, capsys, *line, *more)
    assert differs in said and "use another --out, or delete" in said
    assert state(evaluated) == before
    assert fau_mae(*line) == 0
    assert state(evaluated) == before


def test_another_checkpoint_store_or_command_is_refused(
    fau_mae: FauMae,
    capsys,
    evaluated: Path,
    teacher: Path,
    other: Path,
    tiny_store: FaceStore,
    tmp_path: Path,
) -> None:
    before = state(evaluated)
    line = ["evaluate", "--data", tiny_store.path, "--out", evaluated, *ONE, "--checkpoint"]
    assert "made with checkpoint" in refused(fau_mae, capsys, *line, other)
    assert fau_mae("save", other, "--out", tmp_path / "teacher.safetensors") == 0
    assert "checkpoint" in refused(fau_mae, capsys, *line, tmp_path / "teacher.safetensors")
    prepare_synthetic(tmp_path / "s", identities=9, frames=4, size=48, seed=6, workers=1, progress=False)
    elsewhere = ["evaluate", "--data", tmp_path / "s", "--out", evaluated, *ONE, "--checkpoint", teacher]
    assert "store synthetic" in refused(fau_mae, capsys, *elsewhere, "--num-folds", 3)
    table = write_table(tmp_path / "p.csv", 0)
    assert "`fau-mae evaluate`" in refused(fau_mae, capsys, "evaluate-predictions", table, "--out", evaluated)
    assert state(evaluated) == before


def test_the_same_weights_from_another_file_are_the_same_checkpoint(
    fau_mae: FauMae, evaluated: Path, teacher: Path, tiny_store: FaceStore, tmp_path: Path
) -> None:
    before = state(evaluated / "predictions")
    assert fau_mae("save", teacher, "--out", tmp_path / "teacher.safetensors") == 0
    line = ["evaluate", "--data", tiny_store.path, "--out", evaluated, *ONE]
    assert fau_mae(*line, "--checkpoint", tmp_path / "teacher.safetensors") == 0
    assert state(evaluated / "predictions") == before


@pytest.mark.parametrize("spoil", ["{", "[]", "{}", "\x00", '{"methods": 3}'])
def test_a_damaged_note_and_a_missing_one_are_refused(
    fau_mae: FauMae, capsys, evaluated: Path, teacher: Path, tiny_store: FaceStore, tmp_path: Path, spoil: str
) -> None:
    out = shutil.copytree(evaluated, tmp_path / "e")
    note = out / "predictions" / "made-by.json"
    line = ["evaluate", "--checkpoint", teacher, "--data", tiny_store.path, "--out", out, *ONE]
    note.write_text(spoil)
    assert str(out / "predictions") in refused(fau_mae, capsys, *line)
    note.unlink()
    assert "do not say what made them" in refused(fau_mae, capsys, *line)


def write_table(path: Path, seed: int) -> Path:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, 40)
    columns = {"sample_id": range(40), "AU12": truth * 0.5 + random.random(40) / 2, "AU12_label": truth}
    pd.DataFrame({**columns, "subject": "a"}).to_csv(path, index=False)
    return path


def test_another_table_in_the_same_folder_is_refused(fau_mae: FauMae, capsys, tmp_path: Path) -> None:
    one = write_table(tmp_path / "one.csv", 0)
    assert fau_mae("evaluate-predictions", one, "--out", "e") == 0
    before = state(tmp_path / "e")
    assert fau_mae("evaluate-predictions", one, "--out", "e") == 0
    assert state(tmp_path / "e") == before
    for name, seed in (("two.csv", 1), ("one.csv", 1)):
        other = write_table(tmp_path / name, seed)
        assert "made with table one.csv" in refused(
            fau_mae, capsys, "evaluate-predictions", other, "--out", "e"
        )
    labels = write_table(tmp_path / "l.csv", 0)
    pd.read_csv(labels)[["sample_id", "AU12_label"]].rename(columns={"AU12_label": "AU12"}).to_csv(labels)
    write_table(tmp_path / "one.csv", 0)
    line = ["evaluate-predictions", one, "--labels", labels, "--out", "e"]
    assert "labels none (now l.csv" in refused(fau_mae, capsys, *line)
    assert state(tmp_path / "e") == before


@pytest.mark.parametrize("command", ["report", "results"])
def test_a_stage_trained_again_makes_its_predictions_stale(
    fau_mae: FauMae, capsys, tmp_path: Path, command: str
) -> None:
    run = write_experiment(tmp_path / "r", subjects=3, frames=6, severities=(0.5,))
    (run / "run.json").write_text(json.dumps({"settings": {"name": "r"}, "done": [[1, 0]]}))
    folder, out = run / "fold1-seed0", "o.md" if command == "results" else "o.html"
    (folder / "student" / "finished").write_text("a" * 32)
    methods = {"student": {"reads_with": "student", "trained": {"student": "a" * 16}}}
    (folder / "predictions" / "made-by.json").write_text(json.dumps({"methods": methods}))
    assert fau_mae(command, run, "--out", out) == 0
    before = state(tmp_path)
    (folder / "student" / "finished").write_text("b" * 32)
    said = refused(fau_mae, capsys, command, run, "--out", out)
    assert f"{folder / 'student'} was trained again" in said and "fau-mae run" in said
    (folder / "student" / "finished").write_text("a" * 32)
    assert state(tmp_path) == before
