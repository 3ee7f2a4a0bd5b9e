"""Occluded copies of a folder: complete, reproducible, honest, and nothing half-written."""

import csv

import cv2
import numpy as np
import pytest

from data_modules.errors import UserError
from fau_mae.evaluation.occlude_files import occlude_files


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    (folder / "anna").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("anna/1.png", "b.jpg"):
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (48, 48, 3), np.uint8))
    return folder


def test_pictures_masks_and_manifest(faces, tmp_path):
    options = {"kinds": ("patches", "hand", "other_face"), "severities": (0.0, 0.25), "progress": False}
    assert occlude_files(faces, tmp_path / "out", **options)[:3] == (12, 2, ())
    occlude_files(faces, tmp_path / "again", **options)
    rows = list(csv.DictReader((tmp_path / "out" / "manifest.csv").open()))
    assert len(rows) == 12 and len({row["sample_id"] for row in rows}) == 2
    for row in rows:
        mask = cv2.imread(str(tmp_path / "out" / row["mask"]), cv2.IMREAD_GRAYSCALE)
        assert set(np.unique(mask)) <= {0, 255}
        assert float(row["hidden"]) == pytest.approx((mask == 0).mean(), abs=1e-4)
        for column in ("picture", "mask"):
            name = row[column]
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_user_errors_leave_nothing_behind(faces, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="does not exist"):
        occlude_files(tmp_path / "nowhere", out, kinds=("patches",))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.png"):
        occlude_files(tmp_path / "broken.png", out, kinds=("patches",), severities=(0.5,), progress=False)
    assert not out.exists() and {path.name for path in tmp_path.iterdir()} == {"faces", "broken.png"}
    with pytest.raises(UserError, match="choose a new folder"):
        occlude_files(faces, faces, kinds=("patches",))


def test_the_command_draws_from_the_held_out_pool_when_asked(faces, tmp_path, fau_mae, capsys):
    for seed in (0, -1):
        out = tmp_path / f"seed{seed}"
        line = ("occlude", faces, "--kind", "texture", "--severity", 0.25, "--out", out, "--seed", seed)
        assert fau_mae(*line) == 0
    one, other = (list(csv.DictReader((tmp_path / f"seed{s}" / "manifest.csv").open())) for s in (0, -1))
    assert [row["seed"] for row in one + other] == ["0", "0", "-1", "-1"]
    for mine, same in zip(one, other):
        assert (tmp_path / "seed0" / mine["picture"]).read_bytes() != (
            tmp_path / "seed-1" / same["picture"]
        ).read_bytes()
    assert fau_mae("occlude", faces, "--kind", "texturr", "--out", tmp_path / "none") == 2
    assert "did you mean 'texture'" in capsys.readouterr().err and not (tmp_path / "none").exists()
