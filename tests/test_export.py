"""`fau-mae export`: an ONNX file gives torch's answers without torch, whatever is hidden, and says what it is."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fixtures_decisions import made_up_decisions
from fixtures_models import FACES, faces, masks
from fixtures_training import fit, train_detector

from data_modules.stores.store import FaceStore
from fau_mae.cli import main
from fau_mae.inference.predictor import load
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.weights.checkpoints import load_detector, save_weights

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")


@pytest.fixture(scope="module")
def saved(
    teacher: Path,
    tiny_store: FaceStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Weights of a teacher and of a student that know their decisions."""
    folder = tmp_path_factory.mktemp("saved")

    def fau_mae(*line: object) -> int:
        return main([str(word) for word in line])

    assert fit(fau_mae, "student", tiny_store, folder / "run", init=teacher) == 0
    trained = {"teacher": teacher, "student": folder / "run/checkpoints/last.ckpt"}
    for name, checkpoint in trained.items():
        save_weights(checkpoint, folder / f"{name}.safetensors", decisions=made_up_decisions().to_dict())
    return {name: folder / f"{name}.safetensors" for name in trained}


@pytest.mark.parametrize("head", ["query_graph", "me_graphau"])
def test_fixed_shapes_give_the_same_answers(head: str) -> None:
    """Hidden tokens barred as keys, against left out: the encoder's own property, here through the whole model."""
    torch.manual_seed(0)
    model = AUModel(AUModelConfig("nano", stem="gradient", head=head), FACES).eval()
    model.set_prior([0.2] * len(FACES.regions))
    pictures, visible = faces(6), masks([16, 12, 8, 4, 1, 0])
    dense, sparse = model.dense(pictures, visible), model(pictures, visible)
    for ours, theirs in zip(dense, sparse):
        torch.testing.assert_close(ours[:5], theirs[:5], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dense.logits, sparse.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_an_au_model_answers_as_torch_does(
    fau_mae: FauMae, saved: dict[str, Path], tmp_path: Path, capsys, name: str
) -> None:
    """100 faces at 0, 50, 75 and 100 % hidden, in one batch and face by face; a teacher reads hidden tokens too."""
    assert fau_mae("export", saved[name], "--out", tmp_path / "m.onnx") == 0
    assert (
        "image uint8 (B, 3, 48, 48), visible bool (B, 16) -> probabilities, nodes, present, observable"
        in (capsys.readouterr().out)
    )
    (said,) = [
        json.loads(prop.value)
        for prop in onnx.load(tmp_path / "m.onnx").metadata_props
        if prop.key == "fau_mae"
    ]
    model = load(saved[name])
    assert (
        said["aus"] == [f"AU{au}" for au in model.aus]
        and said["preset"] == "canonical"
        and said["grid"] == model.grid
    )
    pictures = np.random.default_rng(0).integers(0, 256, (100, 48, 48, 3), np.uint8)
    count = model.grid**2
    visible = masks_of(count, 100)
    wanted = model.read(pictures, visible)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    image = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    for rows in (slice(0, 100), slice(5, 6)):
        values, nodes, present, observable = session.run(
            None, {"image": image[rows], "visible": visible[rows]}
        )
        np.testing.assert_allclose(values, wanted.probabilities[rows], atol=1e-4)
        np.testing.assert_allclose(observable, wanted.observable[rows], atol=1e-3)
        decided = ~np.isnan(wanted.present[rows])
        assert (present[decided] == wanted.present[rows][decided]).mean() > 0.99
        assert nodes.shape[:2] == values.shape and np.isfinite(nodes).all()
    assert without_torch(tmp_path / "m.onnx", count) == "(2, 17)"


def without_torch(path: Path, tokens: int) -> str:
    """The shape of its probabilities, from a process that cannot import torch."""
    code = (
        "import sys, numpy as np, onnxruntime as ort; sys.modules['torch'] = None\n"
        f"model = ort.InferenceSession({str(path)!r})\n"
        f"given = dict(image=np.zeros((2, 3, 48, 48), np.uint8), visible=np.ones((2, {tokens}), bool))\n"
        "print(model.run(['probabilities'], given)[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def masks_of(tokens: int, faces: int) -> np.ndarray:
    """(faces, tokens) bool, True = visible: 0, 50, 75 and 100 % hidden in turns."""
    draws = np.random.default_rng(1)
    rows = np.ones((faces, tokens), bool)
    for number, row in enumerate(rows):
        row[draws.permutation(tokens)[: round((0, 0.5, 0.75, 1)[number % 4] * tokens)]] = False
    return rows


def test_a_detector_and_a_model_without_decisions(
    fau_mae: FauMae, teacher: Path, tiny_store: FaceStore, tmp_path: Path
) -> None:
    detector = train_detector(fau_mae, tiny_store, tmp_path / "detector")
    assert fau_mae("export", detector, "--out", tmp_path / "d.onnx") == 0
    pictures = faces(9)
    (visible,) = onnxruntime.InferenceSession(tmp_path / "d.onnx").run(None, {"image": pictures.numpy()})
    assert (visible == load_detector(detector).visible(pictures).numpy()).mean() > 0.99
    assert fau_mae("export", teacher, "--out", tmp_path / "t.onnx") == 0
    session = onnxruntime.InferenceSession(tmp_path / "t.onnx")
    assert [value.name for value in session.get_inputs()] == ["image"]
    assert [value.name for value in session.get_outputs()] == ["probabilities", "nodes"]


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    fau_mae: FauMae, saved: dict[str, Path], tmp_path: Path, capsys
) -> None:
    student = saved["student"]
    (tmp_path / "notes.onnx").write_bytes(b"mine")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    lines = [
        ([student, "--out", tmp_path / "m.bin"], "must end in .onnx"),
        ([student, "--out", tmp_path / "notes.onnx"], "is there already and not of this command"),
        ([tmp_path / "other.pt", "--out", tmp_path / "m.onnx"], "weights of another project"),
        ([tmp_path / "gone.ckpt", "--out", tmp_path / "m.onnx"], "gone.ckpt"),
    ]
    for arguments, words in lines:
        assert fau_mae("export", *arguments) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line
    assert {path.name for path in tmp_path.iterdir()} == {"notes.onnx", "other.pt"}
    assert (tmp_path / "notes.onnx").read_bytes() == b"mine"


def test_the_example_of_the_docs_runs(
    fau_mae: FauMae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights of the package; what it prints of a face is what `read` says."""
    monkeypatch.chdir(tmp_path)
    for name in ("student", "detector"):
        assert fau_mae("export", f"shipped:{name}", "--out", f"{name}.onnx") == 0
    model = load(detector="shipped:detector")
    side = model.image_size
    crops = np.random.default_rng(3).integers(0, 256, (4, side, side, 3), np.uint8)
    np.save("crops.npy", np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
    text = (Path(__file__).parent.parent / "docs/using.md").read_text(encoding="utf-8")
    (code,) = [part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "onnxruntime" in part]
    found: dict[str, np.ndarray] = {}
    exec(code, found)
    wanted = model.read(crops)
    np.testing.assert_allclose(found["probabilities"], wanted.probabilities, atol=1e-3)
    np.testing.assert_array_equal(found["visible"], wanted.visible)
