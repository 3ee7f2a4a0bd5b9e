"""Properties that every occlusion keeps: nested, monotone, deterministic, honest about what it hides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.errors import UserError
from data_modules.occlusion.apply import KINDS, occlude
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.spec import OcclusionSpec, token_visibility

HIDING = [kind for kind in KINDS if kind != "none"]
EXACT = ["patches", "upper", "lower", "left", "right"]
severities = st.floats(0.0, 1.0)
sizes = st.integers(32, 512)
grids = st.integers(4, 32)
samples = st.integers(0, 2**63 - 1)


def face(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(HIDING), sizes, sizes, grids, samples, severities, severities)
def test_masks_are_nested_and_deterministic(kind, height, width, grid, sample_id, one, other):
    image = face(height, width)
    before = image.copy()
    weak, strong = sorted((one, other))
    _, weakly = occlude(image, OcclusionSpec(kind, weak), sample_id, grid=grid)
    picture, strongly = occlude(image, OcclusionSpec(kind, strong), sample_id, grid=grid)
    assert not (strongly & ~weakly).any(), "what is hidden stays hidden at a larger severity"
    assert picture.dtype == np.uint8 and picture.shape == image.shape
    assert strongly.dtype == bool and strongly.shape == (height, width)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(
        picture, occlude(image, OcclusionSpec(kind, strong), sample_id, grid=grid)[0]
    )


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(EXACT), sizes, grids, samples, severities)
def test_cell_counts_are_exact(kind, size, grid, sample_id, severity):
    _, visible = occlude(face(size, size), OcclusionSpec(kind, severity), sample_id, grid=grid)
    tokens = token_visibility(visible, grid)
    assert (~tokens).sum() == round(severity * grid * grid)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(HIDING), st.sampled_from(FILLS), sizes, grids, samples, severities)
def test_visible_pixels_are_untouched_by_grid_kinds(kind, fill, size, grid, sample_id, severity):
    image = face(size, size)
    picture, visible = occlude(
        image, OcclusionSpec(kind, severity), sample_id, grid=grid, fill=fill, donor=face(40, 50)
    )
    np.testing.assert_array_equal(picture[visible], image[visible])


@pytest.mark.parametrize("kind", list(KINDS))
def test_severity_zero_and_none_hide_nothing(kind):
    image = face(64, 64)
    for spec in (OcclusionSpec(kind, 0.0), OcclusionSpec("none", 0.5)):
        picture, visible = occlude(image, spec, 1, grid=8)
        assert visible.all() and picture is not image
        np.testing.assert_array_equal(picture, image)


def test_streams_differ_by_face_and_seed():
    def mask(sample_id: int, seed: int) -> bytes:
        return occlude(face(64, 64), OcclusionSpec("patches", 0.5, seed), sample_id, grid=14)[1].tobytes()

    assert len({mask(sample_id, seed) for sample_id in range(10) for seed in range(3)}) == 30


def test_user_errors_name_what_is_wrong():
    with pytest.raises(UserError, match="did you mean 'block'"):
        occlude(face(32, 32), OcclusionSpec("blok", 0.5), 1, grid=8)
    with pytest.raises(UserError, match="donor"):
        occlude(face(32, 32), OcclusionSpec("block", 0.5), 1, grid=8, fill="donor")
    with pytest.raises(UserError, match="unknown fill"):
        occlude(face(32, 32), OcclusionSpec("block", 0.5), 1, grid=8, fill="pink")
