"""Sweep files: what W&B's agent makes of them and what we do; the whole sweep through the real command line."""

import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import TINY
from fixtures_processes import alive_below, is_alive
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.stores.store import FaceStore
from fau_mae.runs.config_files import experiments_root
from fau_mae.sweeps import sweep_file
from fau_mae.sweeps.distributions import Distribution, read_distribution
from fau_mae.sweeps.trials import logged_values

FauMae = Callable[..., int]
FOLDER = experiments_root() / "sweeps"
FILES = sorted(FOLDER.glob("*.yaml"))
ROOT = Path(__file__).parent.parent


def agent_command(file: Path, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that `wandb agent` would start for one trial, by its own code, without a server."""
    from wandb import wandb_agent

    started: list[list[str]] = []
    monkeypatch.setattr(
        wandb_agent, "AgentProcess", lambda command, **_: started.append(command) or _Started()
    )
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "")  # the agent sets them in its own environment; put back after the test
    config = yaml.safe_load(file.read_text())
    agent = wandb_agent.Agent(api=None, queue=queue.Queue(), sweep_id="s")
    agent._sweep_command = config["command"]
    args = {name: {"value": value} for name, value in parameters.items()}
    agent._command_run({"run_id": "abc123", "program": config["program"], "args": args})
    assert os.environ["WANDB_RUN_ID"] == "abc123"
    return started[0]


class _Started:
    last_sigterm_time = None


def one_trial(file: Path) -> dict[str, Any]:
    """Some value of every parameter."""
    entries = yaml.safe_load(file.read_text())["parameters"]
    return {n: e["values"][0] if "values" in e else e.get("value", e.get("min")) for n, e in entries.items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_our_command_line_takes_what_the_wandb_agent_starts(
    fau_mae: FauMae, tiny_store: FaceStore, file: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    parameters = one_trial(file)
    command = agent_command(file, parameters, monkeypatch)
    assert command[:2] == ["/usr/bin/env", "fau-mae"]
    if command[2] == "fit":
        assert fau_mae(*command[2:], "--data.store", tiny_store.path, "--print_config") == 0
        config = yaml.safe_load(capsys.readouterr().out)
        assert config["out"].endswith("/abc123/student")
        for name, value in parameters.items():
            assert _at(config, name) == value
    else:
        assert fau_mae(*command[2:], "--dry-run") == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "quickstart/pretrain" in line]
        assert "runs/sweeps/backbone/abc123/fold1-seed0/pretrain" in line
        for name, value in parameters.items():
            assert f"--{name.removeprefix('pretrain.')}={value}" in shlex.split(line)


def _at(config: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        config = config[key]
    return config


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_both_engines_start_the_same_command(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = sweep_file.load_sweep(file)
    ours = sweep_file.trial_words(sweep, one_trial(file), sweep.folder / "abc123" / sweep.out)
    theirs = sweep_file.name_trial(agent_command(file, one_trial(file), monkeypatch)[2:])
    at = theirs.index("--out")
    assert ours[:-2] == theirs[:at] + theirs[at + 2 :]
    assert Path(ours[-1]) == Path(theirs[at + 1]).absolute()


@settings(deadline=None)  # the first example imports wandb
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]+(\.[a-z_]+){0,3}", fullmatch=True),
        st.one_of(
            st.booleans(), st.integers(), st.floats(allow_nan=False), st.lists(st.floats(0, 1)), st.text()
        ),
        max_size=5,
    ),
    st.sampled_from(["args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags"]),
)
def test_macros_are_filled_in_as_wandb_does(parameters: dict[str, Any], macro: str) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = _sweep(["fit", f"${{{macro}}}"])
    theirs = create_sweep_command_args({"args": {name: {"value": v} for name, v in parameters.items()}})[
        macro
    ]
    assert sweep_file.trial_words(sweep, parameters, Path("out")) == ["fit", *theirs, "--out", "out"]


def _sweep(words: list[str], **more: Any) -> sweep_file.Sweep:
    values = {
        "name": "s",
        "folder": Path("s"),
        "out": "",
        "words": words,
        "method": "grid",
        "metric": "val/auroc",
        "maximize": True,
        "parameters": {},
        "run_cap": None,
        "patience": None,
    }
    return sweep_file.Sweep(**{**values, **more})


def write(path: Path, **changes: Any) -> Path:
    """A small valid file with some keys changed, or left out where they are None."""
    config = {
        "program": "fau-mae",
        "command": ["${env}", "${program}", "fit", "--out", "runs/{trial}/teacher", "${args}"],
        "method": "grid",
        "metric": {"name": "val/auroc", "goal": "maximize"},
        "parameters": {"data.seed": {"values": [0, 1]}, "data.fold": {"values": [1, 2, 3]}},
    } | changes
    path.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "magic"}, "grid, random, bayes"),
        ({"method": "random"}, "run_cap"),
        ({"metric": {"name": "val/auroc"}}, "goal"),
        ({"parameters": None}, "not a W&B sweep file"),
        ({"parameters": {"a": {"min": 0.0, "max": 1.0}}}, "a grid needs"),
        ({"method": "random", "run_cap": 2, "parameters": {"a": {"min": 1, "max": 0}}}, "min is not below"),
        ({"method": "random", "run_cap": 2, "parameters": {"a": {"distribution": "beta"}}}, "'beta'"),
        ({"parameters": {"a": {"parameters": {}}}}, "dotted"),
        ({"program": "train.py"}, "fau-mae"),
        ({"command": ["${program}", "fit", "--out", "x/{trial}"]}, "${args}"),
        ({"command": ["${program}", "fit", "--out", "x", "${args}"]}, "{trial}"),
        ({"early_terminate": {"type": "envelope"}}, "hyperband"),
    ],
)
def test_a_file_that_cannot_run_is_refused_in_one_line(
    fau_mae: FauMae, tmp_path: Path, capsys, changes: dict[str, Any], words: str
) -> None:
    assert fau_mae("sweep", write(tmp_path / "sweep.yaml", **changes)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("fau-mae: ") and words in line and "sweep.yaml" in line
    assert not (tmp_path / "runs").exists()


def test_without_ray_one_line_says_what_to_install(
    fau_mae: FauMae, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "fau_mae.sweeps.ray_tune", raising=False)
    assert fau_mae("sweep", write(tmp_path / "sweep.yaml")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "pip install 'fau-mae[sweep]'" in line


def test_a_place_for_the_trial_outside_a_sweep_is_refused(fau_mae: FauMae, capsys, monkeypatch) -> None:
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    assert fau_mae("fit", "--config", "x.yaml", "--out", "runs/{trial}") == 2
    assert "{trial}" in capsys.readouterr().err


def test_a_folder_of_another_sweep_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "first.yaml")
    sweep = sweep_file.load_sweep(first, tmp_path / "out")
    sweep_file.claim_folder(sweep, first)
    # More trials of the same are welcome.
    sweep_file.claim_folder(sweep, write(tmp_path / "longer.yaml", run_cap=3))
    with pytest.raises(sweep_file.UserError, match="another method"):
        sweep_file.claim_folder(sweep, write(tmp_path / "other.yaml", method="random", run_cap=2))


def test_grid_holds_every_combination_once(tmp_path: Path) -> None:
    sweep = sweep_file.load_sweep(write(tmp_path / "sweep.yaml"))
    combinations = sweep_file.grid(sweep)
    assert combinations[0] == {"data.seed": 0, "data.fold": 1} and len(combinations) == 6
    assert len({tuple(c.values()) for c in combinations}) == 6


RANGES = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
    "layers": {"min": 1, "max": 3},
    "dropout": {"min": 0.0, "max": 0.5},
    "size": {"values": ["nano", "micro"]},
    "range": {"values": [[0.1, 0.5], [0.1, 0.9]]},
    "fixed": {"value": 7},
}


def read(entries: dict[str, Any]) -> dict[str, Distribution]:
    return {name: read_distribution(name, entry, "random") for name, entry in entries.items()}


def _in_range(parameters: dict[str, Any]) -> bool:
    return (
        1e-4 <= parameters["lr"] <= 1e-2
        and parameters["layers"] in (1, 2, 3)
        and 0 <= parameters["dropout"] <= 0.5
        and parameters["size"] in ("nano", "micro")
        and parameters["range"] in RANGES["range"]["values"]
        and parameters["fixed"] == 7
    )


def test_random_draws_stay_in_range_and_a_longer_sweep_begins_with_the_shorter() -> None:
    short, long = (
        sweep_file.draw(_sweep(["fit"], method="random", parameters=read(RANGES), run_cap=cap))
        for cap in (20, 40)
    )
    assert long[:20] == short and all(map(_in_range, long))
    assert {d["layers"] for d in long} == {1, 2, 3} and len({d["lr"] for d in long}) == 40
    json.dumps(long)  # plain numbers


def test_bayes_repeats_known_trials_and_learns_from_them(tmp_path: Path) -> None:
    """Told that a small learning rate is good, Optuna suggests small ones more often than chance would."""
    ray_tune = pytest.importorskip("fau_mae.sweeps.ray_tune")
    sweep = _sweep(["fit"], method="bayes", parameters=read(RANGES), run_cap=60, folder=tmp_path)

    def suggest(search: Any, known: int) -> None:
        number = search.suggest(f"t{known}")["number"]
        trial = sweep_file.read_trial(tmp_path / f"trial-{number:04d}")
        assert number == known and _in_range(trial.parameters)
        search.on_trial_complete(f"t{known}", {"score": -trial.parameters["lr"]})

    search = ray_tune._Bayes(sweep, [])
    for known in range(15):
        suggest(search, known)
    before = [trial.parameters for trial in sweep_file.read_trials(tmp_path)]
    resumed = ray_tune._Bayes(sweep, sweep_file.read_trials(tmp_path))  # after a kill, say
    for known in range(60):
        suggest(resumed, known)
    after = [trial.parameters for trial in sweep_file.read_trials(tmp_path)]
    assert after[:15] == before and len(after) == 60
    # Drawn blindly, half of the learning rates lie below 1e-3; 45 draws with 38 or more there have p < 1e-5.
    assert sum(parameters["lr"] < 1e-3 for parameters in after[15:]) >= 38


def test_hyperband_is_read_as_wandb_means_it(tmp_path: Path) -> None:
    read = lambda entry: sweep_file.load_sweep(write(tmp_path / "s.yaml", early_terminate=entry)).patience  # noqa: E731
    assert read({"type": "hyperband", "min_iter": 3}) == {"first": 3, "factor": 3}
    assert read({"type": "hyperband", "max_iter": 27, "s": 2, "eta": 3}) == {"first": 3, "factor": 3}


def test_a_metric_is_read_over_the_parts_of_an_interrupted_stage(tmp_path: Path) -> None:
    (tmp_path / "metrics.part0.csv").write_text("epoch,step,val/auroc\n0,1,\n0,2,0.5\n1,4,0.6\n")
    (tmp_path / "metrics.csv").write_text("epoch,step,val/auroc\n1,4,0.61\n2,6,0.7\n")
    assert logged_values(tmp_path, "val/auroc") == [0.5, 0.61, 0.7]
    assert logged_values(tmp_path, "val/f1") == [] == logged_values(tmp_path / "nowhere", "val/auroc")


# -- the whole thing ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    yield {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def stage_sweep(path: Path, stage: str, store: FaceStore, *more: str, **changes: Any) -> Path:
    """A sweep over one quickstart stage that starts from no other."""
    fit = ["fit", "--config", f"quickstart/{stage}"]
    fit += [f"--data.store={store.path}", *TINY, *more]
    command = ["${env}", "${program}", *fit, "--out", f"runs/{{trial}}/{stage}", "${args}"]
    return write(path, command=command, **changes)


def sweep_line(file: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "fau_mae.cli", "sweep", str(file), *more]


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_sweep_of_8_trials_killed_after_3_goes_on_with_the_other_5(
    tiny_store: FaceStore, tmp_path: Path, environment: dict[str, str]
) -> None:
    grid = {"model.init_args.optim.lr": {"values": [1e-4, 1e-3, 1e-2, 1e-1]}, "data.seed": {"values": [0, 1]}}
    line = sweep_line(
        stage_sweep(
            tmp_path / "sweep.yaml",
            "teacher",
            tiny_store,
            "--model.init_args.init_from=null",
            parameters=grid,
        )
    )
    folder = tmp_path / "runs"
    over = lambda: [t.name for t in sweep_file.read_trials(folder) if t.state == "finished"]  # noqa: E731

    first = subprocess.Popen(line, cwd=tmp_path, env=environment, start_new_session=True)
    while len(over()) < 3:
        assert first.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.2)
    family = alive_below(first.pid)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    alive = lambda: [pid for pid in family if is_alive(pid)]  # noqa: E731
    deadline = time.monotonic() + 60
    while alive() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(), "a training outlived its sweep"
    done = over()  # another trial may have ended on the way
    assert 3 <= len(done) < 8
    stamps = {name: (folder / name / "results.parquet").stat().st_mtime_ns for name in done}

    second = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"{len(done)} of 8 trials are done" in second.stdout
    assert len(over()) == 8
    assert stamps == {name: (folder / name / "results.parquet").stat().st_mtime_ns for name in done}
    assert all((folder / name / "log.txt").read_text().count("$ fau-mae fit") == 1 for name in done)

    results = pd.read_parquet(folder / "results.parquet")
    assert results["trial"].nunique() == 8 and set(results["model.init_args.optim.lr"]) == {
        1e-4,
        1e-3,
        1e-2,
        1e-1,
    }
    assert set(results["severity"]) == {0.0, 0.1, 0.25, 0.5, 0.75, 0.9} and set(results["method"]) == {
        "teacher"
    }
    assert not results.duplicated(["trial", "method", "kind", "severity", "au"]).any()
    summary = pd.read_csv(folder / "summary.csv")
    assert summary["val/auroc"].is_monotonic_decreasing and summary["val/auroc"].notna().all()
    assert not (folder / ".ray-tune").exists()

    third = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert third.returncode == 0 and "everything is done already" in third.stdout


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_hyperband_stops_the_worse_trial_and_a_broken_one_is_named(
    tiny_store: FaceStore, tmp_path: Path, environment: dict[str, str]
) -> None:
    """One trial at a time: the second learns nothing, so it is stopped; the third does not start."""
    more = ["--trainer.max_epochs=3", "--trainer.limit_train_batches=6"]
    file = stage_sweep(
        tmp_path / "sweep.yaml",
        "pretrain",
        tiny_store,
        *more,
        metric={"name": "val/loss", "goal": "minimize"},
        parameters={"model.init_args.optim.lr": {"values": [1e-2, 1e-12, -1.0]}},
        early_terminate={"type": "hyperband", "min_iter": 1, "eta": 2},
    )
    line = sweep_line(file, "--cpus-per-trial", "2")
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    trials = sweep_file.read_trials(tmp_path / "runs")
    assert [trial.state for trial in trials] == ["finished", "stopped", "failed"], done.stdout + done.stderr
    assert done.returncode == 2 and "1 of 3 trials failed" in done.stderr and "log.txt" in done.stderr
    assert "optim.lr is -1.0" in (trials[2].folder / "log.txt").read_text()
    values = [logged_values(trial.folder / "pretrain", "val/loss") for trial in trials]
    assert len(values[0]) == 3 and 1 <= len(values[1]) <= 3 and values[0][0] < values[1][0]
    summary = pd.read_csv(tmp_path / "runs" / "summary.csv")
    assert list(summary["trial"]) == ["trial-0000", "trial-0001", "trial-0002"]
