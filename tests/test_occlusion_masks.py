"""Properties that every occlusion keeps: nested, monotone, deterministic, honest about what it hides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.errors import UserError
from data_modules.facs import au_region
from data_modules.occlusion.apply import KINDS, donor_of, occlude
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.objects import Cutout
from data_modules.occlusion.placement import five_points
from data_modules.occlusion.spec import OcclusionSpec, pool_of, token_visibility, training_seed
from data_modules.occlusion.textures import CLOTH, MATERIALS, tile

HIDING = [kind for kind in KINDS if kind != "none"]
EXACT = [kind for kind in HIDING if KINDS[kind].exact]
severities = st.floats(0.0, 1.0)
sizes = st.integers(32, 512)
grids = st.integers(4, 32)
samples = st.integers(0, 2**63 - 1)


CUTOUT = np.zeros((40, 60, 4), np.uint8)
CUTOUT[8:32, 10:50] = (200, 40, 90, 255)
GIVEN = {
    "donor": np.full((40, 50, 3), 77, np.uint8),
    "saliency": np.random.default_rng(5).random((7, 7)),
    "objects": (Cutout.of(CUTOUT),),
}


def hide(image: np.ndarray, kind: str, severity: float, sample_id: int, grid: int, **options):
    return occlude(image, OcclusionSpec(kind, severity), sample_id, grid=grid, **{**GIVEN, **options})


def face(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(HIDING), sizes, sizes, grids, samples, severities, severities)
def test_masks_are_nested_and_deterministic(kind, height, width, grid, sample_id, one, other):
    image = face(height, width)
    before = image.copy()
    weak, strong = sorted((one, other))
    _, weakly = hide(image, kind, weak, sample_id, grid)
    picture, strongly = hide(image, kind, strong, sample_id, grid)
    assert not (strongly & ~weakly).any(), "what is hidden stays hidden at a larger severity"
    assert picture.dtype == np.uint8 and picture.shape == image.shape
    assert strongly.dtype == bool and strongly.shape == (height, width)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(picture, hide(image, kind, strong, sample_id, grid)[0])


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(EXACT), sizes, grids, samples, severities)
def test_cell_counts_are_exact(kind, size, grid, sample_id, severity):
    _, visible = hide(face(size, size), kind, severity, sample_id, grid)
    tokens = token_visibility(visible, grid)
    assert (~tokens).sum() == round(severity * grid * grid)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([kind for kind in HIDING if KINDS[kind].cells]),
    st.sampled_from(FILLS),
    sizes,
    grids,
    samples,
    severities,
)
def test_visible_pixels_are_untouched_by_grid_kinds(kind, fill, size, grid, sample_id, severity):
    image = face(size, size)
    picture, visible = hide(image, kind, severity, sample_id, grid, fill=fill)
    np.testing.assert_array_equal(picture[visible], image[visible])


@pytest.mark.parametrize("kind", list(KINDS))
def test_severity_zero_and_none_hide_nothing(kind):
    image = face(64, 64)
    for spec in (OcclusionSpec(kind, 0.0), OcclusionSpec("none", 0.5)):
        picture, visible = occlude(image, spec, 1, grid=8)
        assert visible.all() and picture is not image
        np.testing.assert_array_equal(picture, image)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([kind for kind in HIDING if KINDS[kind].draw]), sizes, samples, severities)
def test_drawn_kinds_hide_the_wanted_share_until_they_end(kind, size, sample_id, severity):
    _, visible = hide(face(size, size), kind, severity, sample_id, 14)
    hidden = 1 - visible.mean()
    if KINDS[kind].ends:
        assert hidden <= severity + 0.03
    else:
        assert hidden == pytest.approx(severity, abs=0.03)


@pytest.mark.parametrize("kind", [kind for kind in HIDING if KINDS[kind].draw])
def test_drawn_kinds_are_drawn_where_they_hide(kind):
    image = np.full((160, 160, 3), 120, np.uint8)
    picture, visible = hide(image, kind, 0.1, 3, 14)
    changed = (picture != image).any(-1)
    assert 0.07 < (~visible).mean() < 0.13
    assert changed[~visible].mean() > 0.97
    assert changed[visible].mean() < 0.3, "only soft edge and shadow may reach beyond the mask"


@pytest.mark.parametrize("kind", ["sunglasses", "eyes", "mask", "mouth"])
def test_parts_follow_the_landmarks(kind):
    points = np.array([[95, 60], [135, 60], [120, 85], [97, 105], [133, 105]], float)
    aim = points[:2].mean(0) if kind in ("sunglasses", "eyes") else points[3:].mean(0)
    _, visible = hide(face(200, 200), kind, 0.06, 3, 20, landmarks=points)
    rows, cols = np.nonzero(~visible)
    assert abs(cols.mean() - aim[0]) < 20 and abs(rows.mean() - aim[1]) < 25


def test_landmark_sets_agree_and_odd_ones_are_refused():
    full = np.random.default_rng(0).random((68, 2)) * 100
    reduced = np.delete(full, [60, 64], 0)
    expected = five_points(full, 100, 100)
    for points in (reduced, full[17:], reduced[17:], expected):
        np.testing.assert_allclose(five_points(points, 100, 100), expected)
    with pytest.raises(UserError, match="12 landmarks"):
        five_points(full[:12], 100, 100)


def test_au_targeted_hides_the_regions_of_the_chosen_aus():
    def hidden_share(au: int, aus: tuple[int, ...]) -> float:
        _, visible = hide(face(224, 224), "au_targeted", 0.25, 1, 14, aus=aus)
        x0, y0, x1, y1 = (round(edge * 224) for edge in au_region(au))
        return 1 - visible[y0:y1, x0:x1].mean()

    assert hidden_share(12, (12, 15)) > 0.95 and hidden_share(12, (1, 2)) < 0.2
    assert hidden_share(1, (1, 2)) > 0.9


def test_saliency_hides_the_most_salient_cells():
    saliency = np.zeros((8, 8))
    saliency[2:4, 5:7] = 1
    _, visible = hide(face(64, 64), "saliency", 4 / 64, 1, 8, saliency=saliency)
    assert not visible[16:32, 40:56].any() and visible.sum() == 64 * 64 - 16 * 16


def test_pools_share_no_texture_and_no_shape():
    pools = ("train", "test", "held-out")
    for material in MATERIALS:
        tiles = [tile(pool, material, index).tobytes() for pool in pools for index in range(3)]
        assert len(set(tiles)) == 9
    assert not set(CLOTH["held-out"]) & set(CLOTH["train"] + CLOTH["test"])
    assert [pool_of(seed) for seed in (0, -1, 1, training_seed(0, 0))] == [
        "test",
        "held-out",
        "train",
        "train",
    ]
    pictures = {
        occlude(face(64, 64), OcclusionSpec("texture", 0.3, seed), 1, grid=8)[0].tobytes()
        for seed in (0, -1, 5)
    }
    assert len(pictures) == 3


def test_donors_are_keyed_and_of_another_subject():
    subjects = np.array([0, 0, 1, 1, 2])
    chosen = [donor_of(OcclusionSpec("other_face", 0.5), n, 1, subjects) for n in range(40)]
    assert set(chosen) == {0, 1, 4}
    assert chosen == [donor_of(OcclusionSpec("other_face", 0.9), n, 1, subjects) for n in range(40)]
    assert donor_of(OcclusionSpec("other_face", 0.5), 1, 0, np.zeros(3)) in (0, 1, 2)


def test_streams_differ_by_face_and_seed():
    def mask(sample_id: int, seed: int) -> bytes:
        return occlude(face(64, 64), OcclusionSpec("patches", 0.5, seed), sample_id, grid=14)[1].tobytes()

    assert len({mask(sample_id, seed) for sample_id in range(10) for seed in range(3)}) == 30


def test_user_errors_name_what_is_wrong():
    with pytest.raises(UserError, match="did you mean 'block'"):
        occlude(face(32, 32), OcclusionSpec("blok", 0.5), 1, grid=8)
    with pytest.raises(UserError, match="donor"):
        occlude(face(32, 32), OcclusionSpec("block", 0.5), 1, grid=8, fill="donor")
    for kind, missing in (("other_face", "donor"), ("saliency", "saliency map"), ("objects", "cut-outs")):
        with pytest.raises(UserError, match=missing):
            occlude(face(32, 32), OcclusionSpec(kind, 0.5), 1, grid=8)
    with pytest.raises(UserError, match="uint8 RGB"):
        occlude(np.zeros((32, 32)), OcclusionSpec("block", 0.5), 1, grid=8)
    with pytest.raises(UserError, match="unknown fill"):
        occlude(face(32, 32), OcclusionSpec("block", 0.5), 1, grid=8, fill="pink")
