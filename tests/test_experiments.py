"""Every YAML under experiments/ through the real command line; BP4D and DISFA in their layout on disk, stubbed."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import TINY
from fixtures_datasets import write_bp4d, write_disfa

from data_modules.stores.store import FaceStore
from fau_mae.runs.config_files import experiments_root, merge, read_config
from fau_mae.runs.experiment import load_experiment

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
ROOT = experiments_root()
YAMLS = sorted(ROOT.rglob("*.yaml"))
STAGES = [path for path in YAMLS if "class_path" in read_config(path).get("model", {})]
TRAINED = [path for path in STAGES if "_shared" not in path.parts]
SMALL = [  # what TINY leaves: sizes that fit pictures of 48 pixels, and a model with the layers that are mined
    *(flag for flag in TINY if "model." not in flag),
    "--model.init_args.net.size=micro",
    "--data.image_size=48",
    "--data.num_workers=0",
    "--trainer.precision=32-true",
    "--ladder.severities=[0.5]",
]
SMALL_RUN = [word for flag in SMALL for word in ("--set", flag.removeprefix("--"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


@pytest.mark.parametrize("path", STAGES, ids=name)
def test_print_config_shows_the_whole_of_a_stage(fau_mae: FauMae, capsys, path: Path) -> None:
    assert fau_mae("fit", "--config", path, "--print_config") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    written = read_config(path)
    assert shown["model"]["class_path"] == written["model"]["class_path"]
    assert merge(shown["data"], written.get("data", {})) == shown["data"]
    assert "base" not in shown and shown["trainer"]["gradient_clip_val"] == 1.0


def test_every_piece_is_used_and_says_what_it_is() -> None:
    used = {ROOT / "_shared" / "experiment.yaml"}
    ablations = {path for path in TRAINED if path.parent.name == "ablations"}
    named = {e.config(stage) for e in map(load_experiment, ("synthetic",)) for stage in e.ablations}
    assert ablations == named  # `--ablate` trains each of them
    for path in YAMLS:
        first = path.read_text().splitlines()[0]
        assert first.startswith("# ") and len(first) > 20, path
        named = yaml.safe_load(path.read_text()).get("base", [])
        for base in [named] if isinstance(named, str) else named:
            beside = (path.parent / base).resolve()
            used.add(beside if beside.exists() else ROOT / base)
    pieces = [path for path in YAMLS if path not in TRAINED and path.name != "experiment.yaml"]
    pieces = [path for path in pieces if path.parent.name != "sweeps"]
    assert pieces and set(pieces) <= used


@pytest.mark.parametrize("path", TRAINED, ids=name)
def test_every_stage_opens_with_its_command_and_cost(path: Path) -> None:
    head = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert f"fau-mae fit --config experiments/{name(path)}.yaml" in head
    assert "Cost" in head and ("Expect" in head or "not run" in head)


@pytest.mark.parametrize(
    ("change", "nearest"),
    [
        ("--data.batchsize=4", "batch_size"),
        ("--data.occlusion.knds=[block]", "kinds"),
        ("--data.labels.withunlabelled=true", "with_unlabelled"),
        ("--model.init_args.optim.layerdecay=1", "layer_decay"),
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
