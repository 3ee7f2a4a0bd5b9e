"""A checkpoint knows whom it was trained on and which AUs it knows, wherever it lies and whatever it is called."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from fixtures_models import FACES, faces, masks
from fixtures_training import fit

from data_modules.batch import FaceShape
from data_modules.errors import UserError
from data_modules.facs import SYNTHETIC_AUS
from data_modules.stores.store import FaceStore
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.heads import HEADS
from fau_mae.weights.by_au import pick_aus
from fau_mae.weights.checkpoints import load_au_model, start_from
from fau_mae.weights.description import Description

FauMae = Callable[..., int]


@pytest.fixture
def teacher(fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, no_wandb) -> Path:
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "run/teacher") == 0
    return tmp_path / "run/teacher/checkpoints/last.ckpt"


def evaluate(fau_mae: FauMae, checkpoint: Path, store: Path, out: Path, *more: object) -> int:
    line = ["evaluate", "--checkpoint", checkpoint, "--data", store, "--out", out]
    return fau_mae(*line, "--kinds", "patches", "--severities", "0.5", *more)


def people(out: Path) -> dict[str, list[str]]:
    return {
        split: sorted(set(pd.read_parquet(out / f"predictions/{split}/labels.parquet")["subject"]))
        for split in ("validation", "test")
    }


def older(checkpoint: Path, out: Path) -> Path:
    """The checkpoint as versions wrote it that knew neither crop recipe nor people."""
    whole = torch.load(checkpoint, weights_only=True)
    said = whole["fau_mae"]
    recipe, shape = said["recipe"], said["faces"]
    flat = {name: recipe[name] for name in ("size", "stem", "drop_path", "head", "layers", "intensity")}
    flat |= {"dropout": 0.0, "node_width": None, "frozen_norms": False}
    flat |= {name: shape[name] for name in ("image_size", "grid", "regions")}
    whole["fau_mae"] = {"kind": "au", "recipe": flat, "aus": said["aus"], "uses_mask": said["uses_mask"]}
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(whole, out)
    return out


def edited(checkpoint: Path, out: Path, **changes: object) -> Path:
    whole = torch.load(checkpoint, weights_only=True)
    whole["fau_mae"] |= changes
    torch.save(whole, out)
    return out


def test_the_test_people_are_the_same_wherever_file_and_store_lie(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, teacher: Path
) -> None:
    data = load_au_model(teacher).about.data
    assert {name for split in ("train", "validation", "test") for name in data[split]} == set(
        tiny_store.column("subject")
    )
    moved, exported = tmp_path / "elsewhere.ckpt", tmp_path / "weights.safetensors"
    shutil.copy(teacher, moved)
    assert fau_mae("save", teacher, "--out", exported) == 0
    store = tmp_path / "moved-store"
    shutil.copytree(tiny_store.path, store)
    told = {}
    for number, (checkpoint, place) in enumerate(
        ((teacher, tiny_store.path), (moved, tiny_store.path), (exported, tiny_store.path), (moved, store))
    ):
        out = tmp_path / f"evaluated{number}"
        assert evaluate(fau_mae, checkpoint, place, out) == 0
        assert people(out) == {"validation": data["validation"], "test": data["test"]}
        (table,) = (out / "predictions/test").glob("*-none/patches-0.50.parquet")
        told[number] = pd.read_parquet(table)
    assert all(told[0].equals(table) for table in told.values())


def test_another_fold_is_tested_without_the_people_met(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, teacher: Path, capsys
) -> None:
    assert evaluate(fau_mae, teacher, tiny_store.path, tmp_path / "other", "--fold", 2) == 2
    assert "nobody to test on" in capsys.readouterr().err
    assert evaluate(fau_mae, teacher, tiny_store.path, tmp_path / "two", "--fold", 1, "--num-folds", 2) == 0
    data = load_au_model(teacher).about.data
    assert set(people(tmp_path / "two")["test"]) <= set(data["test"])


def test_an_older_checkpoint_is_read_in_place_and_refused_elsewhere(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, teacher: Path, capsys
) -> None:
    data = load_au_model(teacher).about.data
    old = older(teacher, teacher.with_name("old.ckpt"))
    assert evaluate(fau_mae, old, tiny_store.path, tmp_path / "in-place") == 0
    assert "taken for canonical" in capsys.readouterr().out
    assert people(tmp_path / "in-place") == {"validation": data["validation"], "test": data["test"]}
    away = older(teacher, tmp_path / "away/old.ckpt")
    assert evaluate(fau_mae, away, tiny_store.path, tmp_path / "away/out") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--unknown-people" in line and not (tmp_path / "away/out").exists()
    assert evaluate(fau_mae, away, tiny_store.path, tmp_path / "away/out", "--unknown-people") == 0
    picture = faces(2)
    assert torch.equal(load_au_model(old).model(picture).logits, load_au_model(teacher).model(picture).logits)


def test_a_store_of_another_crop_is_refused(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, teacher: Path, capsys
) -> None:
    faces_said = torch.load(teacher, weights_only=True)["fau_mae"]["faces"]
    other = edited(teacher, tmp_path / "other.ckpt", faces=faces_said | {"preset": "me_graphau"})
    assert evaluate(fau_mae, other, tiny_store.path, tmp_path / "out") == 2
    assert "--preset me_graphau" in capsys.readouterr().err


@pytest.mark.parametrize("intensity", ["none", "ordinal"])
@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_started_au_by_au(head: str, intensity: str) -> None:
    """The same AUs in another order are told the same; of fewer, nodes are the same before messages."""
    net = AUModelConfig("nano", head=head, head_options={"node_width": 16}, intensity=intensity)
    torch.manual_seed(1)
    whole = AUModel(net, FACES).eval()
    for value in whole.state_dict().values():
        if value.is_floating_point() and value.ndim:
            value.copy_(torch.rand_like(value) + 0.1)
    rows = list(range(len(SYNTHETIC_AUS)))[::-1]
    model = AUModel(net, FaceShape(48, 4, tuple(FACES.regions[row] for row in rows), "canonical")).eval()
    model.load_state_dict(pick_aus(whole.state_dict(), model, rows, len(rows)))
    image, visible = faces(2), masks([9, 9])
    mine, theirs = model(image, visible), whole(image, visible)
    torch.testing.assert_close(mine.logits, theirs.logits[:, rows])
    torch.testing.assert_close(mine.edges, theirs.edges[:, rows][:, :, rows])
    if intensity != "none":
        told, known = model.intensity(mine.nodes), whole.intensity(theirs.nodes)
        torch.testing.assert_close(told, known[:, rows])
    some = rows[::2]
    few = AUModel(net, FaceShape(48, 4, tuple(FACES.regions[row] for row in some), "canonical")).eval()
    few.load_state_dict(pick_aus(whole.state_dict(), few, some, len(rows)))
    torch.testing.assert_close(few(image).first_nodes, whole(image).first_nodes[:, some])


def test_other_aus_are_refused_by_name_and_the_encoder_alone_is_taken(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, teacher: Path, capsys
) -> None:
    aus = tiny_store.info.aus
    other = edited(teacher, tmp_path / "other.ckpt", aus=(99, *aus[1:]))
    out = tmp_path / "started"
    assert fit(fau_mae, "teacher", tiny_store, out, init=other) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"does not know AU{aus[0]}, only AU99" in line and f"encoder:{other}" in line
    assert fit(fau_mae, "teacher", tiny_store, out, init=f"encoder:{other}") == 0
    assert fit(fau_mae, "student", tiny_store, tmp_path / "student", init=other) == 2


def test_a_teacher_of_the_same_aus_in_another_order_teaches_the_same(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, teacher: Path
) -> None:
    """The teacher's head is put into the other order too, so that it says the same of every AU."""
    loaded = load_au_model(teacher)
    rows = list(range(len(loaded.aus)))[::-1]
    net, shape = loaded.about.net, loaded.about.faces
    turned = FaceShape(shape.image_size, shape.grid, tuple(shape.regions[row] for row in rows), shape.preset)
    model = AUModel(net, turned)
    picked = pick_aus(loaded.model.state_dict(), model, rows, len(rows))
    whole = torch.load(teacher, weights_only=True)
    about = Description("au", net, turned, tuple(loaded.aus[row] for row in rows), False, loaded.about.data)
    whole["fau_mae"] = about.to_dict()
    whole["state_dict"] = {f"model.{name}": value for name, value in picked.items()}
    torch.save(whole, tmp_path / "turned.ckpt")
    weights = []
    for name, start in (("a", teacher), ("b", tmp_path / "turned.ckpt")):
        assert fit(fau_mae, "student", tiny_store, tmp_path / name, init=start) == 0
        weights.append(load_au_model(tmp_path / name / "checkpoints/last.ckpt").model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-4, rtol=1e-3)


def test_a_missing_au_is_named_to_python_too(tmp_path: Path, teacher: Path) -> None:
    with pytest.raises(UserError, match="does not know AU99"):
        start_from(AUModel(AUModelConfig("nano", "gradient"), FACES), (99,), str(teacher))
