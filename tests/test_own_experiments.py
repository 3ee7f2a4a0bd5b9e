"""Experiments of one's own: copies, folders that build on a built-in one, single stages; what a mistake is told."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import TINY

from data_modules.stores.store import FaceStore
from fau_mae.runs import schema
from fau_mae.runs.config_files import experiments_root, read_config
from fau_mae.runs.experiment import built_in, load_experiment
from fau_mae.runs.plan import read_stage
from fau_mae.sweeps.sweep_file import built_in_sweeps, find_sweep, load_sweep

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
ROOT = Path(__file__).parent.parent
SET = [word for flag in TINY for word in ("--set", flag.removeprefix("--"))] + [
    "--set",
    "ladder.severities=[0.5]",
]


def one_line(capsys: pytest.CaptureFixture) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("fau-mae: ")
    return line


def test_the_list_names_every_experiment_with_what_it_costs(fau_mae: FauMae, capsys) -> None:
    assert fau_mae("experiments") == 0
    text = capsys.readouterr().out
    for name in built_in():
        experiment = load_experiment(name)
        assert f"{name}: {experiment.about}" in text and experiment.cost in text
    assert all(name in text for name in built_in_sweeps())


def test_a_copy_trains_in_a_folder_of_its_own(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    """`cp -r quickstart mine; fau-mae run mine`: nothing of the original is read or written."""
    assert fau_mae("experiments", "copy", "quickstart", "mine") == 0
    assert sorted(path.name for path in Path("mine").iterdir()) == ["experiment.yaml"]
    assert fau_mae("experiments", "copy", "quickstart", "mine") == 2
    assert "exists already" in one_line(capsys)
    store = "--store", tiny_store.path
    assert fau_mae("run", "mine", *store, *SET) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["mine"]
    trained = yaml.safe_load(Path("runs/mine/fold1-seed0/student/config.yaml").read_text())
    assert trained["out"] == "runs/mine/fold1-seed0/student" and trained["experiment"] == "mine"
    for key in ("init_from", "teacher"):
        assert trained["model"]["init_args"][key] == "runs/mine/fold1-seed0/teacher/checkpoints/last.ckpt"
    assert read_stage("mine/student")["data"]["store"] == "runs/mine/store"


def test_a_folder_that_says_base_alone_is_that_experiment(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/experiment.yaml").write_text("base: synthetic/experiment.yaml\n")
    own, original = load_experiment(str(tmp_path / "own")), load_experiment("synthetic")
    assert own.every_stage() == original.every_stage() and own.methods == original.methods
    assert own.name == "own"
    text = "base: synthetic/experiment.yaml\nstages: {teacher: {config: long, set: {trainer: {max_epochs: 3}}}}\n"
    (tmp_path / "own/experiment.yaml").write_text(text)
    (tmp_path / "own/long.yaml").write_text("trainer: {max_epochs: 7, max_steps: 70}\n")
    own = load_experiment("own")
    trainer = original.stages["teacher"].settings["trainer"]
    assert own.stages["teacher"].settings["trainer"] == trainer | {"max_epochs": 3, "max_steps": 70}
    assert own.stages["student"].settings["trainer"] == original.stages["student"].settings["trainer"] | {
        "max_steps": 70
    }
    # Another experiment on top of that one finds the piece where it lies, and its own of that name first.
    (tmp_path / "top").mkdir()
    (tmp_path / "top/experiment.yaml").write_text("base: ../own/experiment.yaml\n")
    assert load_experiment("top").stages == own.stages
    (tmp_path / "top/long.yaml").write_text("trainer: {max_steps: 71}\n")
    assert load_experiment("top").stages["teacher"].settings["trainer"]["max_steps"] == 71
    assert fau_mae("run", "own", "--dry-run") == 0
    assert "fit --config own/teacher --out runs/own/fold1-seed0/teacher" in capsys.readouterr().out


def test_a_stage_is_trained_alone_once_what_it_takes_is(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    line = ["run", "quickstart", "--store", tiny_store.path, "--out", "r", *SET]
    assert fau_mae(*line, "--stage", "detector") == 2
    assert "first `fau-mae run quickstart --stage pretrain`" in one_line(capsys)
    assert not Path("r").exists()
    for stage in ("pretrain", "detector"):  # the second is trained by hand alone
        assert fau_mae(*line, "--stage", stage) == 0
        assert Path(f"r/fold1-seed0/{stage}/finished").exists()
    assert sorted(path.name for path in Path("r/fold1-seed0").iterdir()) == ["detector", "pretrain"]
    assert fau_mae(*line, "--stage", "detector") == 0
    assert "detector is done already" in capsys.readouterr().out
    Path(
        "r/fold1-seed0/pretrain/finished"
    ).unlink()  # as if it had been interrupted: its checkpoints are there
    assert fau_mae(*line, "--stage", "teacher") == 2
    assert "teacher takes pretrain, which is not trained" in one_line(capsys)
    Path("r/fold1-seed0/pretrain/finished").touch()
    assert fau_mae(*line, "--stage", "techer") == 2
    assert "did you mean 'teacher'?" in one_line(capsys)
    assert fau_mae(*line, "--stage", "pretrain", "--dry-run") == 0
    assert "fold1-seed0 pretrain: done" in (text := capsys.readouterr().out) and "teacher" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stage: {}", "unknown setting 'stage': did you mean 'stages'?"),
        ("stages: {pretrain: {sett: {}}}", "did you mean 'set'?"),
        ("methods: {x: {reads: teacher}}", "did you mean 'reads_with'?"),
        ("methods: {x: {reads_with: nosuch}}", "methods.x names 'nosuch'"),
        ("methods: {x: {at: {1.5: teacher}}}", "methods.x.at"),
        ("methods: {x: {}}", "needs either reads_with or at"),
        ("stages: {new: {like: nosuch}}", "new is like 'nosuch'"),
        ("stages: {teacher: {init_from: student}}", "teacher.init_from is 'student', no stage before it"),
        ("stages: {teacher: {config: nosuch}}", "names nosuch.yaml"),
        ("ablations: {teacher: {}}", "both a stage and an ablation"),
        ("ladder: {kind: [block]}", "did you mean 'kinds'?"),
        ("prepare: {identity: 3}", "did you mean 'identities'?"),
        ("prepare: {source: web}", "prepare.source is 'web'"),
        ("folds: 1", "folds is 1"),
        ("seeds: [0, 0]", "0 is given twice"),
        ("base: experiment.yaml", "leads back to itself"),
        ("stages: [a", "experiment.yaml"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
            ),
            "holds more than",
        ),
    ],
)
def test_a_mistake_in_an_experiment_is_one_line(
    fau_mae: FauMae, tmp_path: Path, capsys, text: str, words: str
) -> None:
    (tmp_path / "own").mkdir()
    base = "" if text.startswith("base") else "base: quickstart/experiment.yaml\n"
    (tmp_path / "own/experiment.yaml").write_text(f"{base}{text}\n")
    assert fau_mae("run", "own", "--dry-run") == 2
    assert words in one_line(capsys)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ladder.severities=x", "ladder.severities is 'x'"),
        ("ladder.severities=[nan]", "no hidden share"),
        ("ladder.severities=[.nan]", "no hidden share"),
        ("ladder.severities=0.5", "write a list"),
        ("ladder.severities=[1.5]", "1.5 is no hidden share"),
        ("ladder.severities=[-0.5]", "-0.5 is no hidden share"),
        ("ladder.severities=[true]", "True is no hidden share"),
        ("ladder.severities=[]", "write a list"),
        ("ladder.severities=[0.251,0.254]", "would be called 0.25"),
        ("ladder.severities=[0.004]", "would be called 0.00"),
        ("ladder.kinds=[]", "write a list"),
        ("ladder.kinds=[patch]", "did you mean 'patches'?"),
        ("ladder.kinds=[none]", "unknown occlusion 'none'"),
        ("ladder.kinds=[objects]", "own cut-outs"),
        ("ladder.kinds=[block,block]", "given twice"),
        ("ladder.fill=gray", "use one of grey"),
        ("ladder.thresholds=best", "use one of by_visibility"),
        ("ladder.detector=teachr", "ladder.detector is 'teachr'"),
        ("ladder.fil=grey", "did you mean 'fill'?"),
        ("prepare.framess=3", "did you mean 'frames'?"),
        ("trainer.max_epochs=[", "is no value"),
        ("nonsense", "KEY=VALUE"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(
    fau_mae: FauMae, tmp_path: Path, capsys, change: str, words: str
) -> None:
    for more in (["--dry-run"], []):
        assert fau_mae("run", "quickstart", "--set", change, *more) == 2
        assert words in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--folds", "1,1"], "1 is given twice"),
        (["--folds", "9"], "9 does not exist: there are folds 1 to 8"),
        (["--folds", "0"], "no whole number from 1"),
        (["--folds", "one"], "whole numbers"),
        (["--seeds=-1"], "no whole number from 0"),
        (["--seeds", "2,2"], "2 is given twice"),
        (["--store", "nowhere"], "holds no store"),
    ],
)
def test_folds_seeds_and_stores_that_are_not_there_are_refused_at_once(
    fau_mae: FauMae, tmp_path: Path, capsys, more: list[str], words: str
) -> None:
    assert fau_mae("run", "quickstart", *more) == 2
    assert words in one_line(capsys) and not list(tmp_path.iterdir())


def test_a_config_that_is_not_there_says_what_may_be_given(fau_mae: FauMae, capsys) -> None:
    assert fau_mae("fit", "--config", "nosuch.yaml") == 2
    assert "EXPERIMENT/STAGE" in one_line(capsys)
    assert fau_mae("fit", "--config", "quickstart/techer") == 2
    assert "did you mean 'teacher'?" in one_line(capsys)
    assert fau_mae("fit", "--config") == 2
    assert "needs a YAML file" in one_line(capsys)


def test_later_configs_are_laid_over_earlier_ones(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    (tmp_path / "more.yaml").write_text(
        "trainer: {max_epochs: 11}\nmodel: {init_args: {optim: {lr: 1e-5}}}\n"
    )
    line = ["fit", "--config", "quickstart/teacher", "--config=more.yaml", "--trainer.limit_val_batches=3"]
    assert fau_mae(*line, "--print_config") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["trainer"]["max_epochs"] == 11 and shown["trainer"]["limit_val_batches"] == 3
    optim = shown["model"]["init_args"]["optim"]
    assert float(optim["lr"]) == 1e-5 and optim["layer_decay"] == 0.9


def test_nobody_elses_yaml_is_read_our_way() -> None:
    """`base` is read before jsonargparse sees a config; its own loader stays what it was."""
    import jsonargparse

    before = jsonargparse.get_loader("yaml")
    read_config(experiments_root() / "quickstart/experiment.yaml")
    assert jsonargparse.get_loader("yaml") is before and before("base: nosuch.yaml") == {
        "base": "nosuch.yaml"
    }


def test_shipped_sweeps_are_found_by_name(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    for name in built_in_sweeps():
        assert load_sweep(find_sweep(name)).name == name
    assert fau_mae("sweep", "nosuch") == 2
    assert "backbone, distillation, learning_rate" in one_line(capsys)
    assert fau_mae("experiments", "copy", "sweeps", "mine") == 0
    assert sorted(path.stem for path in Path("mine").iterdir()) == built_in_sweeps()


def test_the_page_on_experiments_knows_every_key_and_no_other() -> None:
    """docs/experiments.md: a table per section, its keys in the first column."""
    text = (ROOT / "docs" / "experiments.md").read_text()
    sections = dict(re.findall(r"^## `(.+?)`.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    tables = {name: re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE) for name, body in sections.items()}
    known = {
        "experiment.yaml": (*schema.KEYS, "base"),
        "stages": schema.STAGE_KEYS,
        "methods": schema.METHOD_KEYS,
        "ladder": schema.LADDER_KEYS,
    }
    assert {name: sorted(keys) for name, keys in tables.items()} == {n: sorted(k) for n, k in known.items()}
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example and set(yaml.safe_load(example[1])) <= set(known["experiment.yaml"])


def test_the_example_of_the_page_on_experiments_runs(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    text = (ROOT / "docs" / "experiments.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    shutil.rmtree(tmp_path / "mine", ignore_errors=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/experiment.yaml").write_text(example[1] if example else "")
    assert fau_mae("run", "mine", "--dry-run") == 0
    assert "runs/mine/fold1-seed0/student" in capsys.readouterr().out
