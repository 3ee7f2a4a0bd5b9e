"""A stage that is done, but of weights that have been trained again since, is named, never taken for the run's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY

from data_modules.files import remove_folder
from data_modules.stores.store import FaceStore
from fau_mae.cli import main
from fau_mae.run_folder import FINISHED, mark_finished, taken_by, training_id

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
SET = [word for flag in TINY for word in ("--set", flag.removeprefix("--"))]


@pytest.fixture
def run(tiny_store: FaceStore, tmp_path: Path) -> Path:
    """A run of which two stages are trained."""
    for stage in ("pretrain", "teacher"):
        assert main(line(tiny_store, tmp_path / "r", "--stage", stage)) == 0
    return tmp_path / "r/fold1-seed0"


def line(store: FaceStore, out: Path, *more: str) -> list[str]:
    return ["run", "quickstart", "--store", str(store.path), "--out", str(out), *SET, *more]


def test_it_is_named_before_any_work_and_trained_once_it_is_gone(
    fau_mae: FauMae, tiny_store: FaceStore, run: Path, capsys
) -> None:
    assert taken_by(run / "teacher") == {"pretrain": training_id(run / "pretrain")}
    assert taken_by(run / "pretrain") == {}
    whole = (run / "pretrain" / FINISHED).read_bytes()
    for now in (b"0" * 64, None):  # trained again, or to be
        if now is None:
            (run / "pretrain" / FINISHED).unlink()
        else:
            (run / "pretrain" / FINISHED).write_bytes(now)
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
        for more in ([], ["--dry-run"], ["--stage", "teacher"], ["--stage", "ladder"]):
            capsys.readouterr()
            assert fau_mae(*line(tiny_store, run.parent, *more)) == 2
            (said,) = capsys.readouterr().err.strip().splitlines()
            if more != ["--stage", "ladder"]:  # of which other stages are missing too
                assert f"{run / 'teacher'} was trained from another pretrain" in said
        assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    (run / "pretrain" / FINISHED).write_bytes(whole)
    assert fau_mae(*line(tiny_store, run.parent, "--dry-run")) == 0
    (run / "pretrain" / FINISHED).write_bytes(b"0" * 64)
    remove_folder(run / "teacher")
    assert fau_mae(*line(tiny_store, run.parent, "--stage", "teacher")) == 0
    assert taken_by(run / "teacher") == {"pretrain": "0" * 16}


def test_a_stage_of_an_older_version_says_nothing_of_what_it_took(
    fau_mae: FauMae, tiny_store: FaceStore, run: Path
) -> None:
    identity = training_id(run / "teacher")
    (run / "teacher" / FINISHED).write_bytes((run / "teacher" / FINISHED).read_bytes().partition(b"\n")[0])
    assert taken_by(run / "teacher") == {} and training_id(run / "teacher") == identity
    (run / "pretrain" / FINISHED).write_bytes(b"0" * 64)
    assert fau_mae(*line(tiny_store, run.parent, "--dry-run")) == 0


def test_weights_from_elsewhere_are_no_stages(tmp_path: Path) -> None:
    for stage in ("fold/a", "fold/b", "other/c"):
        (tmp_path / stage / "checkpoints").mkdir(parents=True)
        (tmp_path / stage / "checkpoints/last.ckpt").write_bytes(stage.encode())
        mark_finished(tmp_path / stage)
    own, other = (tmp_path / stage / "checkpoints/last.ckpt" for stage in ("fold/a", "other/c"))
    mark_finished(tmp_path / "fold/b", [own, other, own, Path("shipped:autoencoder"), Path("timm:vit.mae")])
    assert taken_by(tmp_path / "fold/b") == {"a": training_id(tmp_path / "fold/a")}
