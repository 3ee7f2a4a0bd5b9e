"""Every shipped YAML through the real command line on tiny data; folders of one's own; what is refused at once."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import TINY, refused
from fixtures_datasets import write_bp4d, write_disfa

from data_modules.stores.store import FaceStore
from fau_mae.runs.config_files import experiments_root, merge, read_config
from fau_mae.runs.experiment import built_in, load_experiment
from fau_mae.runs.plan import read_stage

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
ROOT = experiments_root()
YAMLS = sorted(ROOT.rglob("*.yaml"))
STAGES = [f"{name}/{stage}" for name in built_in() for stage in load_experiment(name).every_stage()]
SMALL = [  # what TINY leaves: sizes that fit pictures of 48 pixels, and a model with the layers that are mined
    *(flag for flag in TINY if "model." not in flag),
    "--model.init_args.net.size=micro",
    "--data.image_size=48",
    "--data.num_workers=0",
    "--ladder.severities=[0.5]",
]
SMALL_RUN = [word for flag in SMALL for word in ("--set", flag.removeprefix("--"))]


@pytest.mark.parametrize("stage", STAGES)
def test_print_config_shows_the_whole_of_a_stage(fau_mae: FauMae, capsys, stage: str) -> None:
    """It is a complete file: given back to `fit`, it is shown again."""
    assert fau_mae("fit", "--config", stage, "--print_config") == 0
    text = capsys.readouterr().out
    shown, written = yaml.safe_load(text), read_stage(stage)
    assert merge(shown, written) == shown
    assert shown["trainer"]["gradient_clip_val"] == 1.0
    experiment, _, name = stage.partition("/")
    assert shown["out"] == f"runs/{experiment}/fold1-seed0/{name}"
    Path("complete.yaml").write_text(text)
    assert fau_mae("fit", "--config", "complete.yaml", "--print_config") == 0
    assert capsys.readouterr().out == text


def files_of(stage: str) -> set[Path]:
    """The YAML files that say what a stage trains with."""
    experiment, _, name = stage.partition("/")
    path = ROOT / experiment / "experiment.yaml"
    entries = read_config(path)
    entry, found = (entries["stages"] | entries.get("ablations", {}))[name], set()
    todo = [path]
    while entry:
        pieces = entry.get("config", [])
        todo += [path.parent / f"{piece}.yaml" for piece in ([pieces] if isinstance(pieces, str) else pieces)]
        entry = entries["stages"] | entries.get("ablations", {})
        entry = entry[name] if (name := _like(entries, name)) else None
    while todo:
        file = todo.pop()
        found.add(file)
        bases = yaml.safe_load(file.read_text()).get("base", [])
        todo += [ROOT / base for base in ([bases] if isinstance(bases, str) else bases)]
    return found


def _like(entries: dict, name: str) -> str | None:
    return (entries["stages"] | entries.get("ablations", {}))[name].get("like")


@pytest.mark.parametrize("stage", STAGES)
def test_at_most_four_files_tell_what_a_stage_trains_with(stage: str) -> None:
    experiment = stage.partition("/")[0]
    files = files_of(stage)
    assert len(files) <= 4, sorted(files)
    if experiment in ("bp4d", "disfa"):
        assert set((ROOT / experiment).iterdir()) == {ROOT / experiment / "experiment.yaml"}


def test_every_piece_is_used_and_says_what_it_is() -> None:
    used = set().union(*map(files_of, STAGES))
    for path in YAMLS:
        first = path.read_text().splitlines()[0]
        assert first.startswith("# ") and len(first) > 20, path
    assert {path for path in YAMLS if path.parent.name != "sweeps"} == used


@pytest.mark.parametrize("experiment", built_in())
def test_every_experiment_says_its_command_what_it_shows_and_what_it_costs(experiment: str) -> None:
    text = (ROOT / experiment / "experiment.yaml").read_text()
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert f"    fau-mae run {experiment}" in head and "Expect" in head
    loaded = load_experiment(experiment)
    assert len(loaded.about) > 20 and len(loaded.cost) > 10
    assert "not run" in loaded.cost or text.count("Cost:") >= 4  # of its stages


@pytest.mark.parametrize(
    ("change", "nearest"),
    [
        ("--data.batchsize=4", "data.batch_size"),
        ("--data.occlusion.knds=[block]", "data.occlusion.kinds"),
        ("--data.labels.withunlabelled=true", "data.labels.with_unlabelled"),
        ("--model.init_args.optim.layerdecay=1", "model.init_args.optim.layer_decay"),
    ],
)
def test_an_unknown_key_names_the_nearest_one_before_any_work(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, change: str, nearest: str
) -> None:
    arguments = ["--store", tiny_store.path, "--out", tmp_path / "r", "--set", change.removeprefix("--")]
    assert fau_mae("run", "synthetic", *arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"did you mean {nearest!r}?" in line and not (tmp_path / "r").exists()


@pytest.mark.parametrize("dataset", ["bp4d", "disfa"])
def test_licensed_data_goes_from_its_disk_to_the_table_of_all_folds(
    fau_mae: FauMae, tmp_path: Path, capsys, dataset: str
) -> None:
    raw = (write_bp4d if dataset == "bp4d" else write_disfa)(tmp_path / "raw", frames=8)
    arguments = ["run", dataset, "--out", tmp_path / "r", "--seeds", "0", *SMALL_RUN]
    arguments += ["--set", "prepare.size=48"]
    assert fau_mae(*arguments) == 2
    assert "--root is missing" in capsys.readouterr().err
    assert fau_mae(*arguments, "--root", raw, "--folds", "1,2,3") == 0
    text = capsys.readouterr().out
    assert "fold 1" in text and "fold 3" in text and "interval" in text
    scores = pd.read_csv(tmp_path / "r" / "folds.csv")
    folds = scores[["fold1", "fold2", "fold3"]].mean(axis=1)
    assert scores["mean"].to_numpy() == pytest.approx(folds.to_numpy(), nan_ok=True)
    results = pd.read_parquet(tmp_path / "r" / "results.parquet")
    assert set(results["fold"]) == {1, 2, 3} and set(results["dataset"]) == {dataset}
    tested = [
        set(pd.read_parquet(tmp_path / f"r/fold{fold}-seed0/predictions/test/labels.parquet")["subject"])
        for fold in (1, 2, 3)
    ]
    expected = (
        [{"M003"}, {"F003"}, {"F001", "M004"}] if dataset == "bp4d" else [{"SN003"}, {"SN006"}, {"SN001"}]
    )
    assert tested == expected  # the published parts, last first

    weights = tmp_path / "r/fold1-seed0/pretrain/checkpoints/last.ckpt"
    assert fau_mae("run", dataset, "--mae", weights, "--out", tmp_path / "m", "--dry-run") == 0
    text = capsys.readouterr().out
    assert "pretrain: " not in text and f"--model.init_args.init_from {weights}" in text
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_options_that_do_not_go_with_the_faces_are_told_before_any_work(
    fau_mae: FauMae, capsys, tiny_store: FaceStore, more: list[str]
) -> None:
    """Also of a stage that would be trained last."""
    line = ["run", "quickstart", "--store", tiny_store.path, "--out", "r", *more]
    line += ["--set", "data.grid=8", "data.batch_size=4", "student.model.init_args.net.stem=gradient"]
    said = refused(fau_mae, capsys, *line)
    assert "patches of a multiple of 4 pixels, not 6" in said and not Path("r").exists()
