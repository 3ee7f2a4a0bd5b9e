"""`fau-mae run` as a graph: what waits for what, by hand, and on Ray, stopped and killed on its way."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY, refused
from fixtures_processes import alive_below, is_alive, start_command

from data_modules.stores.store import FaceStore
from fau_mae.runs.experiment import load_experiment

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
SMALL = [flag.removeprefix("--") for flag in TINY]
OUTPUTS = ("results.parquet", "folds.csv", "metrics.json")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of two stages and one method, in two folds."""
    folder = tmp_path_factory.mktemp("small") / "small"
    folder.mkdir()
    none = {name: None for name in ("augmented", "dropped", "student")}
    values: dict[str, Any] = {"base": "quickstart", "folds": [1, 2], "stages": none}
    values |= {"methods": none, "ladder": {"kinds": ["patches"], "severities": [0.5]}}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(values))
    return folder


def line(small: Path, store: FaceStore, out: Path, *more: object) -> list[object]:
    return ["run", small, "--store", store.path, "--out", out, "--set", *SMALL, *more]


@pytest.fixture(scope="module")
def plain(small: Path, tiny_store: FaceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a plain run of it leaves, in one process of one thread."""
    out = tmp_path_factory.mktemp("plain") / "run"
    process = start_command(out.parent, line(small, tiny_store, out), WANDB_MODE="disabled")
    assert process.wait(500) == 0, process.communicate()[1]
    return out


def graph(fau_mae: FauMae, capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert fau_mae(*words, "--dry-run", "--format", "json") == 0
    return {step["name"]: step for step in json.loads(capsys.readouterr().out)["steps"]}


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in OUTPUTS)


@pytest.mark.parametrize("name", ["quickstart", "bp4d", "synthetic"])
def test_a_step_waits_for_the_stages_that_it_takes(fau_mae: FauMae, capsys, name: str) -> None:
    experiment = load_experiment(name)
    steps = graph(fau_mae, capsys, "run", name, "--folds", "1,2", "--seeds", "0,7")
    seen: set[str] = set()
    for step in steps.values():
        assert seen.issuperset(step["waits_for"]) and step["command"][0] == "fau-mae"
        seen.add(step["name"])
    stages = experiment.trained()
    assert len(steps) == 1 + 4 * (len(stages) + 1) + 1
    for place in ("fold1-seed0", "fold2-seed7"):
        for stage, entry in stages.items():
            takes = {f"{place}/{source}" for source in entry.takes.values()}
            assert set(steps[f"{place}/{stage}"]["waits_for"]) == (takes or {"store"})
        assert set(steps[f"{place}/ladder"]["waits_for"]) == {f"{place}/{stage}" for stage in stages}
    assert len(steps["results"]["waits_for"]) == 4
    assert not list(Path.cwd().iterdir())


def test_the_commands_of_the_graph_do_what_the_run_does(
    fau_mae: FauMae, small: Path, tiny_store: FaceStore, plain: Path, tmp_path: Path, capsys
) -> None:
    """Each in turn, as by hand or by a job manager; the last one sums up."""
    words = line(small, tiny_store, tmp_path / "run")
    steps = graph(fau_mae, capsys, *words)
    assert len(steps) == 2 * 3 + 1
    ladder = steps["fold2-seed0/ladder"]["command"][1:]
    assert "ladder takes pretrain, which is not trained" in refused(fau_mae, capsys, *ladder)
    for step in steps.values():
        assert fau_mae(*step["command"][1:]) == 0, step["name"]
        if step["name"].endswith("ladder"):
            assert not (tmp_path / "run/results.parquet").exists()
    assert same(plain, tmp_path / "run")
    assert {step["state"] for step in graph(fau_mae, capsys, *words).values()} == {"done"}


def test_two_runs_of_different_folds_share_a_folder(
    small: Path, tiny_store: FaceStore, plain: Path, tmp_path: Path, fau_mae: FauMae
) -> None:
    out = tmp_path / "run"
    both = [
        start_command(tmp_path, line(small, tiny_store, out, "--folds", fold), WANDB_MODE="disabled")
        for fold in (1, 2)
    ]
    assert [process.wait(500) for process in both] == [0, 0]
    assert fau_mae(*line(small, tiny_store, out)) == 0
    assert same(plain, out)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--address", "auto"], "--address needs --engine ray or --jobs N"),
        (["--cpus-per-stage", "2"], "--cpus-per-stage needs --engine ray"),
        (["--engine", "ray", "--jobs", "2", "--address", "auto"], "--jobs is of this machine alone"),
        (["--format", "json"], "--format json is of --dry-run"),
        (["--jobs", "2", "--gpus-per-stage", "4"], "trains on 1: add --set trainer.devices=4"),
        (["--jobs", "2", "--set", "trainer.num_nodes=2"], "trains over several machines"),
        (["--stage", "ladder"], "ladder takes pretrain, which is not trained"),
    ],
)
def test_options_that_say_nothing_are_refused(
    fau_mae: FauMae, small: Path, tiny_store: FaceStore, capsys, more: list[str], said: str
) -> None:
    assert said in refused(fau_mae, capsys, *line(small, tiny_store, Path("run"), *more))


def test_without_ray_one_line_says_how_to_get_it(
    fau_mae: FauMae, small: Path, tiny_store: FaceStore, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name in [name for name in sys.modules if name.startswith("fau_mae.engines")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(fau_mae, capsys, *line(small, tiny_store, Path("run"), "--jobs", "2"))
    assert "pip install 'fau-mae[ray]'" in said and not Path("run").exists()


def test_a_stage_may_not_have_the_ladder_s_name(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    text = "base: quickstart\nstages: {ladder: {like: teacher}}\n"
    (tmp_path / "mine/experiment.yaml").write_text(text)
    assert "stages.ladder: that name is taken" in refused(fau_mae, capsys, "run", "mine", "--dry-run")


def _workers(pid: int) -> list[int]:
    """Workers of Ray below a process that have one of ours at work."""
    of_ray = [p for p in alive_below(pid) if Path(f"/proc/{p}/cmdline").read_bytes().startswith(b"ray::")]
    return [worker for worker in of_ray if alive_below(worker)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_on_ray_stopped_and_killed_it_ends_in_the_same_bytes(
    small: Path, tiny_store: FaceStore, plain: Path, tmp_path: Path
) -> None:
    """SIGTERM while stages are at work, then the same command, of which a worker is killed; TMPDIR is a long path."""
    pytest.importorskip("ray")
    out, long = tmp_path / "run", tmp_path / ("long" * 30)
    long.mkdir()
    env = {"WANDB_MODE": "disabled", "TMPDIR": str(long)}
    words = line(small, tiny_store, out, "--jobs", "2")
    stopped = start_command(tmp_path, words, **env)
    while not _workers(stopped.pid):
        assert stopped.poll() is None, stopped.communicate()[1]
        time.sleep(0.1)
    family = alive_below(stopped.pid)
    stopped.send_signal(signal.SIGTERM)
    said = stopped.communicate(timeout=200)[1]
    assert stopped.returncode == 143
    assert said.strip().splitlines()[-1] == "fau-mae: stopped by SIGTERM; the same command goes on from here"
    assert "Traceback" not in said
    until = time.monotonic() + 30
    while any(map(is_alive, family)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_alive, family)), "something of Ray outlived its run"

    again = start_command(tmp_path, words, **env)
    while not (workers := _workers(again.pid)):
        assert again.poll() is None, again.communicate()[1]
        time.sleep(0.1)
    os.kill(workers[0], signal.SIGKILL)
    table, said = again.communicate(timeout=500)
    assert again.returncode == 0, said
    assert "fold2-seed0/ladder: done" in table and said == ""
    assert same(plain, out) and not (out / "logs").exists()
    files = lambda run: {path.relative_to(run) for path in run.rglob("*") if path.is_file()}  # noqa: E731
    assert {path for path in files(out) if path.name != "metrics.part0.csv"} == files(plain)
