"""`fau-mae run` as a graph: what waits for what, by hand, and on Ray, stopped and killed on its way."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY, refused
from fixtures_processes import alive_below, is_alive, start_command

from data_modules.stores.store import FaceStore
from fau_mae.runs.experiment import load_experiment

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
SMALL = [flag.removeprefix("--") for flag in TINY]
OUTPUTS = ("results.parquet", "folds.csv", "metrics.json")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the processes here have it: sums of more threads round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of two stages and one method, in two folds."""
    folder = tmp_path_factory.mktemp("small") / "small"
    folder.mkdir()
    none = dict.fromkeys(("augmented", "dropped", "student"))
    values: dict[str, Any] = {"base": "quickstart/experiment.yaml", "folds": [1, 2], "stages": none}
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
        (["--address", "auto"], "--address needs --engine ray"),
        (["--cpus-per-stage", "2"], "--cpus-per-stage needs --engine ray or --engine slurm"),
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
    text = "base: quickstart/experiment.yaml\nstages: {ladder: {like: teacher}}\n"
    (tmp_path / "mine/experiment.yaml").write_text(text)
    assert "stages.ladder: that name is taken" in refused(fau_mae, capsys, "run", "mine", "--dry-run")


def _workers(pid: int) -> list[int]:
    """Workers of Ray below a process that have one of ours at work."""
    of_ray = [p for p in alive_below(pid) if Path(f"/proc/{p}/cmdline").read_bytes().startswith(b"ray::")]
    return [worker for worker in of_ray if alive_below(worker)]


@pytest.mark.slow
@pytest.mark.timeout(1500)
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
    assert "fold2-seed0/ladder: done" in table and "Traceback" not in said
    assert same(plain, out) and not (out / "logs").exists()
    files = lambda run: {path.relative_to(run) for path in run.rglob("*") if path.is_file()}  # noqa: E731
    assert {path for path in files(out) if path.name != "metrics.part0.csv"} == files(plain)


# Hands out job numbers, refuses a dependency on a job that has not ended well, and does each task of an array at once.
_SBATCH = r"""#!/bin/bash
for word in "$@"; do
  case $word in
    --dependency=afterok:*)
      for job in $(tr ':' ' ' <<< "${word#--dependency=afterok:}"); do
        test -e "$JOBS/$job" || { echo "no job $job has ended well" >&2; exit 1; }
      done ;;
    -*) ;;
    *) script=$word ;;
  esac
done
number=$(( $(ls "$JOBS" | wc -l) + 1 ))
last=$(sed -n 's/^#SBATCH.*--array=0-\([0-9]*\).*/\1/p' "$script")
for task in $(seq 0 "$last"); do
  SLURM_ARRAY_TASK_ID=$task bash "$script" > "logs/$script-$task.txt" 2>&1 || { cat logs/*; exit 1; } >&2
done
touch "$JOBS/$number"
echo "$number;cluster"
"""


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, jobs = tmp_path / "tools", tmp_path / "jobs"
    for folder in (tools, jobs):
        folder.mkdir()
    for name, text in (("sbatch", _SBATCH), ("srun", '#!/bin/bash\nexec "$@"\n')):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(jobs))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))


@pytest.mark.slow
def test_slurm_s_arrays_do_what_the_run_does(
    fau_mae: FauMae, small: Path, tiny_store: FaceStore, plain: Path, tmp_path: Path, sbatch: None, capfd
) -> None:
    """Of one fold, its first stage done already; the levels wait for each other."""
    words = line(small, tiny_store, tmp_path / "run", "--folds", "1")
    assert fau_mae(*words, "--stage", "pretrain") == 0
    capfd.readouterr()
    assert fau_mae(*words, "--engine", "slurm", "--gpus-per-stage", "0") == 0
    assert capfd.readouterr().out.splitlines() == [f"level{n}: 1 steps, job {n + 1}" for n in range(3)]
    tables = [pd.read_parquet(run / "results.parquet") for run in (plain, tmp_path / "run")]
    first = tables[0][tables[0]["fold"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(tables[1], first)


def test_slurm_s_scripts_of_bp4d_ask_for_what_each_level_takes(
    fau_mae: FauMae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    root = tmp_path / "BP4D"
    root.mkdir()
    more = ["--folds", "1,2,3", "--seeds", "0,1", "--write", "jobs", "--cpus-per-stage", "8"]
    more += ["--set", "trainer.devices=4", "student.trainer.num_nodes=2"]
    assert fau_mae("run", "bp4d", "--root", root, "--engine", "slurm", *more) == 0
    assert "bash jobs/submit.sh" in capsys.readouterr().out
    scripts = {path.stem: path.read_text() for path in Path("jobs").glob("level*.sh")}
    asked = {
        name: re.findall(r"--array=0-(\d+)|--nodes=(\d) --ntasks-per-node=(\d)|gpus-per-node=(\d)", text)
        for name, text in scripts.items()
    }
    flat = {name: [word for found in groups for word in found if word] for name, groups in asked.items()}
    four = ["5", "1", "4", "4"]
    assert (
        flat
        == {
            "level0": ["0", "1", "1"],  # the store
            "level1": four,  # pretrain
            "level2": ["11", *four[1:]],  # teacher, detector
            "level3": ["11", *four[1:]],  # augmented, dropped
            "level3-1": ["5", "2", "4", "4"],  # student
            "level4": ["5", "1", "1", "1"],  # ladders
            "level5": ["0", "1", "1"],  # tables
        }
    )
    submit = Path("jobs/submit.sh").read_text()
    found = re.findall(r"afterok:(\S+) --kill-on-invalid-dep=yes (level\S+)\.sh", submit)
    assert {name: jobs for jobs, name in found} == {
        "level1": "${job0}", "level2": "${job1}", "level3": "${job2}", "level3-1": "${job2}",
        "level4": "${job3}:${job4}", "level5": "${job5}",
    }  # fmt: skip
    assert "exec srun" in scripts["level0"] and "prepare bp4d --out runs/bp4d/store" in scripts["level0"]
    assert all(
        "cd " in text and text.count("--signal=SIGUSR1@120 --requeue") == 1 for text in scripts.values()
    )


def test_without_sbatch_one_line_says_so(
    fau_mae: FauMae, small: Path, tiny_store: FaceStore, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("PATH", "")
    said = refused(fau_mae, capsys, *line(small, tiny_store, Path("run"), "--engine", "slurm"))
    assert "there is no sbatch here: on a machine of the cluster, bash run/slurm/submit.sh" in said
