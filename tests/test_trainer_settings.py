"""What a user sets of Lightning's trainer: obeyed, or refused in one line that names it, before anything is trained."""

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import lightning as L
import pytest
import torch
import yaml
from conftest import TINY
from fixtures_training import fit, numbers

from data_modules.stores.store import FaceStore
from fau_mae.runs.settings.trainer import RANGES
from fau_mae.tasks import MAEPretraining, OcclusionDetector, Student, Teacher
from fau_mae.tasks.stage import Stage

FauMae = Callable[..., int]

WRONG = [  # setting and words of the line
    ("trainer.accelerator=tpu", "trainer.accelerator"),
    ("trainer.accelerator=abacus", "abacus"),
    ("trainer.devices=0", "trainer.devices"),
    ("trainer.devices=[977]", "trainer.devices"),
    ("trainer.devices=many", "many"),
    ("trainer.num_nodes=0", "trainer.num_nodes"),
    ("trainer.precision=13", "trainer.precision"),
    ("trainer.precision=64-true", "not supported"),
    ("trainer.strategy=teleport", "trainer.strategy"),
    ("trainer.gradient_clip_val=-0.5", "trainer.gradient_clip_val"),
    ("trainer.gradient_clip_val=.nan", "trainer.gradient_clip_val"),
    ("trainer.gradient_clip_algorithm=scissors", "trainer.gradient_clip_algorithm"),
    ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches"),
    ("trainer.limit_val_batches=1.5", "trainer.limit_val_batches"),
    ("trainer.limit_train_batches=-1", "trainer.limit_train_batches"),
    ("trainer.overfit_batches=-3", "trainer.overfit_batches"),
    ("trainer.val_check_interval=1000", "val_check_interval"),
    ("trainer.val_check_interval=0", "trainer.val_check_interval"),
    ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch"),
    ("trainer.max_epochs=-1", "trainer.max_epochs"),
    ("trainer.max_epochs=-7", "trainer.max_epochs"),
    ("trainer.max_epochs=soon", "a whole number"),
    ("trainer.max_steps=-2", "trainer.max_steps"),
    ("trainer.max_time=later", "trainer.max_time"),
    ("trainer.min_epochs=-1", "trainer.min_epochs"),
    ("trainer.profiler=gossip", "trainer.profiler"),
    ("trainer.logger=true", "trainer.logger"),
    ("trainer.logger=CSVLogger", "trainer.logger"),
    ("trainer.default_root_dir=elsewhere", "trainer.default_root_dir"),
    ("trainer.enable_checkpointing=false", "trainer.enable_checkpointing"),
    ("trainer.barebones=true", "trainer.barebones"),
    ("trainer.plugins=magic", "trainer.plugins"),
    ("trainer.epochs=3", "unknown setting 'trainer.epochs'"),
    ("data.kinds=[patches]", "did you mean 'data.occlusion.kinds'"),
    ("data.batch_size=2.5", "a whole number"),
    ("data.augment=perhaps", "true or false"),
    ("data.occlusion.severity_range=[0.5]", "2 values"),
    ("model.init_args.loss.balance=scales", "one of positives, aus, none"),
    ("model.init_args.learning_rate=1", "unknown setting 'model.init_args.learning_rate'"),
    ("model=fau_mae.tasks.Pupil", "fau_mae.tasks.Student"),
    ("seed_everything=-1", "seed_everything"),
    ("checkpoint_minutes=-1", "checkpoint_minutes"),
    ("checkpoint_minutes=.nan", "checkpoint_minutes"),
    ("ckpt_path=nowhere.ckpt", "nowhere.ckpt does not exist"),
    ("ckpt_path=best", "best.ckpt does not exist"),
]


def one_line(capsys) -> str:
    (line,) = [
        text for text in capsys.readouterr().err.splitlines() if "Warning" not in text and text.strip()
    ]
    assert line.startswith("fau-mae: ") and len(line) < 700
    return line


@pytest.mark.parametrize(("setting", "words"), WRONG)
def test_it_ends_in_one_line_that_names_it(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb, setting: str, words: str
) -> None:
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "out", f"--{setting}") == 2
    assert words in one_line(capsys)
    assert not (tmp_path / "out" / "finished").exists() and not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["gpu", "cuda", "mps"])
@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_missing_gpu_is_told_by_the_other_commands_too(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb, command: str, name: str
) -> None:
    line = [command, "--config", "quickstart/teacher", "--out", tmp_path / "o", *TINY]
    line += [f"--data.store={tiny_store.path}", f"--trainer.accelerator={name}"]
    assert fau_mae(*line) == 2 and f"trainer.accelerator={name}" in one_line(capsys)


@pytest.mark.parametrize(
    "arguments", [["fit"], ["test", "--trainer.max_epochs=1"], ["validate", "--out", "o"]]
)
def test_a_missing_config_is_called_missing(fau_mae: FauMae, capsys, arguments: list[str]) -> None:
    assert fau_mae(*arguments) == 2
    said = one_line(capsys)
    assert "--config" in said and "missing" in said and "did you mean" not in said


def test_every_number_of_the_trainer_has_a_range() -> None:
    hints = get_type_hints(L.Trainer.__init__)
    # devices may be a name, and precision is one of a few.
    asked = {name for name, hint in hints.items() if numbers(hint)} - {"devices", "max_time"}
    assert asked == RANGES.keys()
    for name, allowed in RANGES.items():
        default = inspect.signature(L.Trainer).parameters[name].default
        assert default is None or allowed.holds(int(default) if isinstance(default, bool) else default), name
        assert not allowed.holds(float("nan")) and not allowed.holds(-3), name


@pytest.mark.parametrize(
    ("callback", "told"),
    [("EarlyStopping", True), ("ModelCheckpoint", True), ("EarlyStopping", False)],
)
def test_a_metric_that_is_never_logged_is_named_before_the_first_epoch(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb, callback: str, told: bool
) -> None:
    options = {"monitor": "val/acuracy" if told else "val/f1", "mode": "max"}
    given = {"trainer": {"callbacks": [{"class_path": callback, "init_args": options}]}}
    config = tmp_path / "watch.yaml"
    config.write_text(yaml.safe_dump(given))
    code = fit(fau_mae, "teacher", tiny_store, tmp_path / "o", "--config", str(config))
    if not told:
        assert code == 0
        return
    said = one_line(capsys)
    assert code == 2 and callback in said and "val/acuracy" in said and "val/auroc" in said
    assert not (tmp_path / "o" / "checkpoints").exists()


@pytest.mark.parametrize("kind", [MAEPretraining, Teacher, Student, OcclusionDetector])
def test_what_a_stage_says_that_it_logs_is_what_it_logs(
    fau_mae: FauMae,
    tiny_store: FaceStore,
    teacher: Path,
    tmp_path: Path,
    no_wandb,
    monkeypatch,
    kind: type[Stage],
) -> None:
    stages = {
        MAEPretraining: "pretrain",
        Teacher: "teacher",
        Student: "student",
        OcclusionDetector: "detector",
    }
    seen: dict[str, set[str]] = {}
    monkeypatch.setattr(
        Stage,
        "on_fit_end",
        lambda self: seen.update(said=self.logged(), logged=set(self.trainer.callback_metrics)),
        raising=False,
    )
    init = teacher if kind is Student else None
    assert fit(fau_mae, stages[kind], tiny_store, tmp_path / "o", init=init) == 0
    assert seen["said"] == seen["logged"]


def test_overfitting_sees_the_same_faces_in_every_epoch(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, no_wandb, monkeypatch
) -> None:
    seen: dict[int, list[tuple[int, ...]]] = {}
    begin = Stage.on_train_batch_start

    def note(module: Stage, batch: Any, step: int) -> None:
        seen.setdefault(module.current_epoch, []).append(tuple(batch.sample_id.tolist()))
        begin(module, batch, step)

    monkeypatch.setattr(Stage, "on_train_batch_start", note)
    for out, more, same in (
        ("few", "--trainer.overfit_batches=2", True),
        ("all", "--trainer.overfit_batches=0", False),
    ):
        seen.clear()
        assert fit(fau_mae, "augmented", tiny_store, tmp_path / out, "--trainer.max_epochs=3", more) == 0
        assert len(seen) == 3 and all(len(steps) == 2 for steps in seen.values())
        assert (len({tuple(steps) for steps in seen.values()}) == 1) == same


def test_fewer_epochs_than_are_done_change_nothing(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb
) -> None:
    out = tmp_path / "teacher"
    assert fit(fau_mae, "teacher", tiny_store, out, "--trainer.max_epochs=2") == 0

    def all_of() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    before = all_of()
    assert out / "finished" in map(Path, before)
    for less in ("--trainer.max_epochs=1", "--trainer.max_epochs=2", "--trainer.max_steps=3"):
        capsys.readouterr()
        assert (
            fit(fau_mae, "teacher", tiny_store, out, "--trainer.max_epochs=2", "--ckpt_path=last", less) == 0
        )
        assert "nothing is changed" in capsys.readouterr().out and all_of() == before
    (out / "finished").unlink()  # as if it had been killed after its last checkpoint
    assert fit(fau_mae, "teacher", tiny_store, out, "--trainer.max_epochs=2", "--ckpt_path=last") == 0
    assert (out / "finished").exists()


@pytest.fixture
def trained(teacher: Path, tmp_path: Path) -> Path:
    """A stage folder that holds `last.ckpt` and `best.ckpt`."""
    shutil.copytree(teacher.parent, tmp_path / "stage" / "checkpoints")
    return tmp_path / "stage"


@pytest.mark.parametrize("best", [True, False])
def test_a_damaged_checkpoint_is_named_and_a_whole_one_offered(
    fau_mae: FauMae, tiny_store: FaceStore, trained: Path, capsys, no_wandb, best: bool
) -> None:
    last, other = (trained / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    last.write_bytes(last.read_bytes()[:2000])
    if not best:
        other.write_bytes(b"")
    assert fit(fau_mae, "teacher", tiny_store, trained, "--ckpt_path=last", "--trainer.max_epochs=3") == 2
    said = one_line(capsys)
    assert str(last) in said and (f"{other} is whole" in said) == best


class Runs:
    """A pickle that would run code."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("was-run"),)


@pytest.mark.parametrize(
    "option", ["--ckpt_path", "--model.init_args.init_from", "--model.init_args.teacher"]
)
@pytest.mark.parametrize("what", ["code", "other stage", "other shape"])
def test_checkpoints_that_do_not_fit(
    fau_mae: FauMae,
    tiny_store: FaceStore,
    teacher: Path,
    tmp_path: Path,
    capsys,
    no_wandb,
    option: str,
    what: str,
) -> None:
    given, more = tmp_path / "given.ckpt", []
    if what == "code":
        torch.save({"state_dict": Runs()}, given)
    elif what == "other shape":
        given, more = (
            teacher,
            ["--model.init_args.net.size=micro", "--model.init_args.net.head_options.node_width=8"],
        )
        if option.endswith("teacher"):
            more = ["--model.init_args.net.head_options.node_width=8"]
    else:
        assert fit(fau_mae, "detector", tiny_store, tmp_path / "d") == 0
        given = tmp_path / "d" / "checkpoints" / "last.ckpt"
        if option.endswith("init_from"):
            more = ["--model.init_args.net.size=micro"]  # an encoder of any stage may be taken
        capsys.readouterr()
    out = tmp_path / "o"
    assert fit(fau_mae, "student", tiny_store, out, *more, f"{option}={given}", init=teacher) == 2
    one_line(capsys)
    assert not Path("was-run").exists() and not (out / "finished").exists()


RUN = ["quickstart", "--set", *(word.removeprefix("--") for word in TINY)]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("student.model.init_args.distil.temperature=0", "distil.temperature"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val"),
        ("data.val_share=1.2", "data.val_share"),
        ("data.occlusion.severity_range=[0.8,0.2]", "severity_range"),
        ("teacher.trainer.devices=[977]", "trainer.devices"),
        ("pretrain.trainer.strategy=teleport", "teleport"),
        ("data.batch_sizes=3", "batch_size"),
    ],
)
@pytest.mark.parametrize("store", [True, False])
def test_a_dry_run_finds_it(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, setting: str, words: str, store: bool
) -> None:
    """Whether or not the store is there; and so does the run itself, before it begins."""
    given = ["--store", tiny_store.path] if store else []
    assert fau_mae("run", *RUN, setting, "--dry-run", "--out", tmp_path / "run", *given) == 2
    assert words in one_line(capsys)
    if store:
        assert fau_mae("run", *RUN, setting, "--out", tmp_path / "run", *given) == 2
        assert words in one_line(capsys)
    assert not (tmp_path / "run").exists()
