"""Spoilt run folders: whoever reads a damaged file names it in one line and says what to do, or does as before."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fixtures_damage import DAMAGES
from fixtures_results import write_experiment

from fau_mae.run_folder import RunMemory, write_memory
from fau_mae.runs.request import Request

FauMae = Callable[..., int]
COMMANDS = {
    "report": ("report", "RUN", "--out", "out.html"),
    "results": ("results", "RUN", "--out", "out.md"),
    "dashboard": ("dashboard", "RUN", "--spec", "out.json"),
}
FILES = (
    "results.parquet",
    "run.json",
    "fold1-seed0/student/config.yaml",
    "fold1-seed0/student/cost.json",
    "fold1-seed0/student/metrics.csv",
    "fold1-seed0/predictions/made-by.json",
    "fold1-seed0/predictions/test/labels.parquet",
    "fold1-seed0/predictions/test/examples.parquet",
    "fold1-seed0/predictions/test/mask_quality.parquet",
    "fold1-seed0/predictions/test/student-oracle/patches-0.50.parquet",
    "fold1-seed0/predictions/test/clean-none/none-0.00.parquet",
    "fold1-seed0/predictions/test/regions/patches-0.50.parquet",
    "fold1-seed0/predictions/validation/labels.parquet",
)
# Which of them a command looks at; it says so, whatever became of the file.
READ = {
    "report": set(FILES) - {"fold1-seed0/predictions/validation/labels.parquet"},
    "results": {
        name for name in FILES if "/test/" in name or "/" not in name or name.endswith("made-by.json")
    }
    - {f"fold1-seed0/predictions/test/{name}.parquet" for name in ("examples", "mask_quality")},
    "dashboard": {"results.parquet", "run.json"},
}
# What a kill may leave, and what is still a config.
HARMLESS = {"metrics.csv": {"empty", "cut short"}, "config.yaml": {"cut short"}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    run = write_experiment(tmp_path_factory.mktemp("whole") / "r", subjects=3, frames=4, severities=(0.5,))
    stages = {"student": {"settings": {}, "takes": {}}}
    training = {"prepare": {}, "store": None, "stages": stages}
    write_memory(run, RunMemory("r", Request("r").given(), training, done=[[1, 0]]))
    folder = run / "fold1-seed0"
    (folder / "student" / "finished").write_text("a" * 32)
    made_by = {"methods": {"student": {"trained": {"student": "a" * 16}}}}
    (folder / "predictions" / "made-by.json").write_text(json.dumps(made_by))
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Iterator[Path]:
    yield shutil.copytree(whole, tmp_path / "r")


def spoilt(run: Path, name: str, how: str, whole: Path) -> Path:
    path = run / name
    if path.is_dir():
        path.rmdir()
    shutil.copyfile(whole / name, path)
    DAMAGES[how](path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FILES)
def test_a_spoilt_file_is_named_or_not_read(
    fau_mae: FauMae, capsys, whole: Path, run: Path, tmp_path: Path, name: str, command: str
) -> None:
    words = [str(run) if word == "RUN" else word for word in COMMANDS[command]]
    for how in DAMAGES if name in READ[command] else ("cut short",):
        path = spoilt(run, name, how, whole)
        if how == "other types" and path.suffix == ".yaml":  # settings are shown as they are
            continue
        if how == "other names" and path.name in ("cost.json", "config.yaml", "made-by.json"):
            continue
        capsys.readouterr()
        code, said = fau_mae(*words), capsys.readouterr().err
        assert "Traceback" not in said
        if name not in READ[command] or how in HARMLESS.get(path.name, ()):
            assert code == 0, (how, said)
            for written in tmp_path.glob("out.*"):
                written.unlink()
            continue
        assert code == 2 and said.count("\n") == 1, (how, code, said)
        assert str(path) in said, (how, said)
        assert any(word in said for word in ("delete", "copy", "another --out", "save it as UTF-8")), said
        assert not list(tmp_path.glob("out.*")), how


def test_names_that_are_no_rung_are_left_alone(fau_mae: FauMae, run: Path, tmp_path: Path) -> None:
    assert fau_mae("report", run, "--out", "a.html") == 0
    cells = run / "fold1-seed0" / "predictions" / "test" / "student-oracle"
    for name in ("notes", "patches-half", "patches-nan", "-0.50"):
        (cells / f"{name}.parquet").write_text("a user's own")
    assert fau_mae("report", run, "--out", "b.html") == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_results_of_another_run_are_no_results_of_this_one(
    fau_mae: FauMae, capsys, whole: Path, run: Path, tmp_path: Path
) -> None:
    other = write_experiment(tmp_path / "o", folds=(1, 2), subjects=3, frames=4, severities=(0.5,))
    shutil.copyfile(other / "results.parquet", run / "results.parquet")
    for words in COMMANDS.values():
        assert fau_mae(*[str(run) if word == "RUN" else word for word in words]) == 2
        assert "its folds and seeds are not those of run.json" in capsys.readouterr().err
    fewer = write_experiment(tmp_path / "f", subjects=3, frames=4, severities=(0.25,))
    shutil.copyfile(fewer / "results.parquet", run / "results.parquet")
    assert fau_mae("report", run, "--out", "out.html") == 2
    assert "is not in results.parquet" in capsys.readouterr().err
    (run / "results.parquet").unlink()
    assert fau_mae("report", run, "--out", "out.html") == 2
    assert "holds no results.parquet" in capsys.readouterr().err
