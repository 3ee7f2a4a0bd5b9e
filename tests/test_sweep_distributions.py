"""Every distribution of a sweep file under every method: values, types and shares; wrong files in one line."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fau_mae.sweeps import sweep_file
from fau_mae.sweeps.distributions import read_distribution

FauMae = Callable[..., int]
COUNT = 4000
RANGES: dict[str, tuple[dict[str, Any], Callable[[Any], bool], float]] = {  # entry, what holds, share below 4
    "uniform": ({"min": 2.0, "max": 6.0}, lambda v: type(v) is float and 2 <= v <= 6, 0.5),
    "int_uniform": ({"min": 1, "max": 6}, lambda v: type(v) is int and 1 <= v <= 6, 0.5),
    "q_uniform": (
        {"distribution": "q_uniform", "min": 1, "max": 8, "q": 2},
        lambda v: type(v) is int and v in (2, 4, 6, 8),
        2 / 7,
    ),
    "q_uniform_tenths": (
        {"distribution": "q_uniform", "min": 0, "max": 10, "q": 0.1},
        lambda v: type(v) in (int, float) and v == round(v, 1) and 0 <= v <= 10,
        0.395,
    ),
    "log_uniform_values": (
        {"distribution": "log_uniform_values", "min": 1.0, "max": 16.0},
        lambda v: 1 <= v <= 16,
        0.5,
    ),
    "q_log_uniform_values": (
        {"distribution": "q_log_uniform_values", "min": 1, "max": 16, "q": 1},
        lambda v: type(v) is int and 1 <= v <= 16,
        0.452,  # log(3.5) / log(16)
    ),
    "normal": ({"distribution": "normal", "mu": 4, "sigma": 2}, lambda v: type(v) is float, 0.5),
    "q_normal": (
        {"distribution": "q_normal", "mu": 4, "sigma": 2, "q": 1},
        lambda v: type(v) is int,
        0.401,  # of a normal, below 3.5
    ),
    "probabilities": (
        {"values": [1, 5, 7], "probabilities": [0.7, 0.3, 0.0]},
        lambda v: v in (1, 5),
        0.7,
    ),
}


def sweep(tmp_path: Path, method: str, entry: dict[str, Any], cap: int | None = None) -> sweep_file.Sweep:
    config = {
        "program": "fau-mae",
        "command": ["${program}", "fit", "--out", "runs/{trial}/stage", "${args}"],
        "method": method,
        "metric": {"name": "val/auroc", "goal": "maximize"},
        "parameters": {"x": entry},
        **({"run_cap": cap} if cap else {}),
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config))
    return sweep_file.load_sweep(tmp_path / "sweep.yaml", tmp_path / "out")


@pytest.mark.parametrize("name", RANGES)
def test_random_draws_have_the_values_types_and_shares_of_the_file(tmp_path: Path, name: str) -> None:
    entry, holds, below = RANGES[name]
    drawn = [draw["x"] for draw in sweep_file.draw(sweep(tmp_path, "random", entry, COUNT))]
    assert all(map(holds, drawn)) and json.loads(json.dumps(drawn)) == drawn
    assert sum(value < 4 for value in drawn) / COUNT == pytest.approx(below, abs=0.035)  # 4 deviations


@pytest.mark.parametrize("name", RANGES)
def test_bayes_begins_with_the_same_and_knows_its_own_trials_again(tmp_path: Path, name: str) -> None:
    ray_tune = pytest.importorskip("fau_mae.sweeps.ray_tune")
    entry, holds, _ = RANGES[name]
    made = sweep(tmp_path, "bayes", entry, 8)
    search = ray_tune._Bayes(made, [])
    for number in range(8):
        assert search.suggest(f"t{number}") == {"number": number}
    known = sweep_file.read_trials(made.folder)
    assert all(holds(trial.parameters["x"]) for trial in known)
    resumed = ray_tune._Bayes(made, known)
    distribution = made.parameters["x"]
    for number, trial in enumerate(known):
        assert resumed.suggest(f"t{number}") == {"number": number}
        value = trial.parameters["x"]
        assert distribution.at(distribution.share(value)) == pytest.approx(value)
    assert sweep_file.read_trials(made.folder) == known


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ({"min": 2, "max": 5}, [2, 3, 4, 5]),
        ({"distribution": "q_uniform", "min": 0.1, "max": 0.5, "q": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"distribution": "q_uniform", "min": 10, "max": 100, "q": 32}, [32, 64, 96]),
        ({"distribution": "q_log_uniform_values", "min": 3, "max": 9, "q": 3}, [3, 6, 9]),
        ({"distribution": "categorical", "values": ["a", [1, 2], None]}, ["a", [1, 2], None]),
        ({"distribution": "constant", "value": 0.5}, [0.5]),
    ],
    ids=str,
)
def test_a_grid_holds_all_of_a_finite_range(tmp_path: Path, entry: dict[str, Any], values: list[Any]) -> None:
    found = [trial["x"] for trial in sweep_file.grid(sweep(tmp_path, "grid", entry))]
    assert found == values and list(map(type, found)) == list(map(type, values))


def test_shares_follow_the_probabilities_at_their_edges() -> None:
    entry = {"values": ["a", "b", "c"], "probabilities": [0.25, 0, 0.75]}
    choices = read_distribution("x", entry, "random")
    assert Counter(choices.at(n / 100) for n in range(100)) == {"a": 25, "c": 75}
    assert choices.at(1 - 1e-16) == "c"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"values": []}, "holds something"),
        ({"values": "nano"}, "must be a list"),
        ({"values": [1], "value": 1}, "both"),
        ({"values": [1, 2], "min": 0}, "both"),
        ({"min": "1e-4", "max": 1.0}, "1.0e-4"),
        ({"min": float("nan"), "max": 1.0}, "min is nan"),
        ({"min": True, "max": 2}, "min is True"),
        ({"min": 1}, "max is None"),
        ({"minn": 1, "max": 2}, "'minn'"),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "above 0"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "whole numbers"),
        ({"distribution": "q_uniform", "min": 1, "max": 2, "q": -1}, "q must be above 0"),
        ({"distribution": "q_uniform", "min": 1, "max": 2, "q": 5}, "no multiple"),
        ({"distribution": "uniform", "min": 1, "max": 2, "q": 1}, "q_"),
        ({"distribution": "normal", "sigma": 0}, "sigma"),
        ({"distribution": "normal", "min": 0, "max": 1}, "mu and sigma"),
        ({"values": [1, 2], "probabilities": [1.0]}, "one number per value"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "add up to 1"),
        ({"values": [1, 2], "distribution": "normal"}, "categorical"),
        ([1, 2], "one entry per setting"),
    ],
    ids=str,
)
def test_a_wrong_entry_is_one_line(fau_mae: FauMae, tmp_path: Path, capsys, entry: Any, words: str) -> None:
    refused_in_one_line(fau_mae, tmp_path, capsys, {"parameters": {"lr": entry}}, words, "lr: ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parameters": {}}, "empty"),
        ({"parameters": {"a b": {"value": 1}}}, "'a b'"),
        ({"parameters": {7: {"value": 1}}}, "dotted name"),
        ({"run_cap": "many"}, "run_cap"),
        ({"run_cap": 0}, "run_cap"),
        ({"run_cap": True}, "run_cap"),
        ({"command": "fau-mae fit"}, "list of words"),
        ({"early_termination": {"type": "hyperband"}}, "'early_terminate'"),
        ({"early_terminate": {"type": "hyperband", "min_iter": "x"}}, "min_iter"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, "eta"),
        ({"method": "grid", "parameters": {"a": {"distribution": "normal"}}}, "a grid needs"),
        ({"method": "grid", "parameters": {"a": {"min": 1, "max": 10**12}}}, "too many"),
        ({"method": "grid", "parameters": {"a": {"values": [1], "probabilities": [1]}}}, "probabilities"),
    ],
    ids=str,
)
def test_a_wrong_file_is_one_line(
    fau_mae: FauMae, tmp_path: Path, capsys, changes: dict[str, Any], words: str
) -> None:
    refused_in_one_line(fau_mae, tmp_path, capsys, changes, words, "sweep.yaml: ")


def refused_in_one_line(
    fau_mae: FauMae, tmp_path: Path, capsys, changes: dict[str, Any], words: str, place: str
) -> None:
    config = {
        "program": "fau-mae",
        "command": ["${program}", "fit", "--out", "runs/{trial}/stage", "${args}"],
        "method": "random",
        "metric": {"name": "val/auroc", "goal": "maximize"},
        "parameters": {"lr": {"value": 1}},
        "run_cap": 2,
    } | changes
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config))
    assert fau_mae("sweep", tmp_path / "sweep.yaml") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("fau-mae: ") and words in line and place in line
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]
