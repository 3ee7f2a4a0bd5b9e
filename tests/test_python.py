"""The Python interface: light to import, and the example of the README and of the notebook as a user would run it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import fau_mae as interface
from data_modules.errors import UserError
from data_modules.stores.store import FaceStore
from data_modules.synthetic import prepare_synthetic
from fau_mae.cli import main

ROOT = Path(__file__).parent.parent


def test_importing_loads_no_torch():
    heavy = "torch lightning timm pandas datasets wandb albumentations cv2"
    code = f"import sys, fau_mae; print([name for name in '{heavy}'.split() if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_and_documented():
    for name in interface.__all__:
        assert name in dir(interface) and getattr(interface, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Techer'"):
        interface.Techer  # noqa: B018


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `make demo` might have run, with few faces and hardly any training."""
    folder = tmp_path_factory.mktemp("demo")
    run = folder / "runs" / "quickstart"
    prepare_synthetic(run / "store", identities=16, frames=6, size=96, seed=5, workers=1, progress=False)
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.enable_progress_bar=false"]
    for stage in ("pretrain", "teacher"):
        line = [
            "run",
            "quickstart",
            "--stage",
            stage,
            "--out",
            str(run),
            "--set",
            *short,
            "data.batch_size=4",
        ]
        assert main(line) == 0
    return folder


def _run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_example_runs(demo: Path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert re.search(r"AU1 +AU2", _run(code, demo))


def test_the_notebook_runs(demo: Path):
    cells = json.loads((ROOT / "docs" / "python.ipynb").read_text("utf-8"))["cells"]
    code = []
    for cell in cells:
        if cell["cell_type"] == "code":
            *before, last = "".join(cell["source"]).splitlines()
            code += [*before, last if re.match(r"\w+ = |\w+\.(fit|save)", last) else f"print({last})"]
    printed = _run("\n".join(code), demo)
    assert re.search(r"AU1 +AU2", printed) and "floor_f1" in printed


@pytest.fixture(scope="module")
def faces(tiny_store: FaceStore) -> np.ndarray:
    return np.stack([tiny_store.image(row) for row in range(5)])


def test_predictions_are_the_models(teacher: Path, faces: np.ndarray):
    model = interface.load(teacher)
    table = model.predict(faces, batch_size=2)
    pictures = torch.from_numpy(faces).permute(0, 3, 1, 2)
    expected = torch.stack([model.model(picture[None]).logits[0].sigmoid() for picture in pictures])
    assert list(table.columns) == [f"AU{number}" for number in model.aus]
    assert np.allclose(table.to_numpy(), expected.detach(), atol=1e-5)
    assert np.array_equal(model.predict(faces[0]), model.predict([faces[0]]))
    assert len(model.predict([])) == 0


def test_a_hidden_patch_does_not_matter_to_a_student(student: Path, faces: np.ndarray):
    model = interface.load(student)
    side = model.image_size // model.grid
    visible = np.ones((5, model.grid, model.grid), bool)
    visible[:, 1, 2] = False  # True = visible
    painted = faces.copy()
    painted[:, side : 2 * side, 2 * side : 3 * side] = 255
    seen, blind = model.predict(painted, visible), model.predict(faces, visible)
    assert np.allclose(seen, blind, atol=1e-6)
    assert not np.allclose(seen, model.predict(painted), atol=1e-6)


def test_crops_of_other_sizes_are_scaled(teacher: Path, faces: np.ndarray):
    model = interface.load(teacher)
    doubled = faces.repeat(2, 1).repeat(2, 2)
    assert np.allclose(model.predict(doubled), model.predict(faces), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), r"float32 \(8, 8, 3\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"uint8 \(3, 8, 8\)"),
        (["face.jpg"], "a str"),
    ],
)
def test_other_arrays_are_refused_in_one_line(teacher: Path, wrong: object, said: str):
    with pytest.raises(UserError, match=said):
        interface.load(teacher).predict(wrong)


def test_a_mask_of_another_shape_is_refused(teacher: Path, faces: np.ndarray):
    with pytest.raises(UserError, match="True = visible"):
        interface.load(teacher).predict(faces, np.ones((5, 3), bool))


@pytest.fixture(scope="module")
def student(tiny_store: FaceStore, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a student, hardly trained."""
    from fixtures_training import fit

    call: Callable[..., int] = lambda *words: main([str(word) for word in words])  # noqa: E731
    out = tmp_path_factory.mktemp("student") / "student"
    assert fit(call, "student", tiny_store, out, init=teacher) == 0
    return out / "checkpoints" / "last.ckpt"
