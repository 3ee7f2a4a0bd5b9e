"""Properties that every occlusion keeps: nested, monotone, deterministic, honest about what it hides."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.errors import UserError
from data_modules.facs import au_region
from data_modules.landmarks import five_points
from data_modules.occlusion import blobs, held, shapes, textures, worn
from data_modules.occlusion.apply import KINDS, donor_of, occlude
from data_modules.occlusion.fill import FILLS
from data_modules.occlusion.objects import Cutout
from data_modules.occlusion.shapes import shape_generator
from data_modules.occlusion.spec import LADDER, OcclusionSpec, pool_of, token_visibility, training_seed
from data_modules.occlusion.textures import CLOTH, MATERIALS, NOISE, POOL_SIZES, tile

HIDING = [kind for kind in KINDS if kind != "none"]
EXACT = [kind for kind in HIDING if KINDS[kind].exact]
DRAWN = [kind for kind in HIDING if KINDS[kind].draw]
severities = st.floats(0.0, 1.0)
sizes = st.integers(32, 512)
grids = st.integers(4, 32)
samples = st.integers(0, 2**63 - 1)
POINTS = np.array([[0.31, 0.36], [0.57, 0.37], [0.37, 0.55], [0.35, 0.71], [0.54, 0.73]])  # a turned face
turned = st.booleans()


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


@pytest.mark.parametrize("kind", HIDING)
@settings(max_examples=12, deadline=None)
@given(sizes, sizes, grids, samples, severities, severities, turned)
def test_masks_are_nested_monotone_and_deterministic(
    kind, height, width, grid, sample_id, one, other, turned
):
    image = face(height, width)
    before = image.copy()
    points = {"landmarks": POINTS * (width, height) if turned else None}
    weak, strong = sorted((one, other))
    _, weakly = hide(image, kind, weak, sample_id, grid, **points)
    picture, strongly = hide(image, kind, strong, sample_id, grid, **points)
    assert not (strongly & ~weakly).any(), "what is hidden stays hidden at a larger severity"
    assert strongly.mean() <= weakly.mean()
    assert picture.dtype == np.uint8 and picture.shape == image.shape
    assert strongly.dtype == bool and strongly.shape == (height, width)
    np.testing.assert_array_equal(image, before)
    for same, again in zip((picture, strongly), hide(image, kind, strong, sample_id, grid, **points)):
        np.testing.assert_array_equal(same, again)


@pytest.mark.parametrize("kind", EXACT)
@settings(max_examples=12, deadline=None)
@given(sizes, grids, samples, severities, turned)
def test_cell_counts_are_exact(kind, size, grid, sample_id, severity, turned):
    points = POINTS * size if turned else None
    _, visible = hide(face(size, size), kind, severity, sample_id, grid, landmarks=points)
    tokens = token_visibility(visible, grid)  # True = visible
    assert (~tokens).sum() == round(severity * grid * grid)


@pytest.mark.parametrize("grid", range(8, 33))
def test_blocks_hide_the_ladder_within_3_percent(grid):
    hidden = [[1 - hide_cells(grid, rung, n).mean() for n in range(40)] for rung in LADDER]
    assert np.abs(np.array(hidden) - np.array(LADDER)[:, None]).max() <= 0.03 + 1e-9


@settings(max_examples=40, deadline=None)
@given(grids, samples, severities)
def test_blocks_are_rectangles_near_the_wanted_share(grid, sample_id, severity):
    visible = hide_cells(grid, severity, sample_id)
    rows, cols = np.flatnonzero(~visible.all(1)), np.flatnonzero(~visible.all(0))
    assert (~visible).sum() == len(rows) * len(cols), "one rectangle"
    assert len(rows) == 0 or (np.ptp(rows) == len(rows) - 1 and np.ptp(cols) == len(cols) - 1)
    assert abs((~visible).mean() - severity) <= 0.5 / grid + 1e-9, "half a row at most"


def test_blocks_differ_in_place_and_aspect():
    boxes = set()
    for sample_id in range(60):
        rows, cols = np.nonzero(~hide_cells(14, 0.25, sample_id))
        boxes.add((rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1))
    assert len(boxes) > 30 and len({box[2:] for box in boxes}) >= 4


def hide_cells(grid: int, severity: float, sample_id: int) -> np.ndarray:
    """A block's cells, (grid, grid), True = visible."""
    visible = hide(np.zeros((grid, grid, 3), np.uint8), "block", severity, sample_id, grid)[1]
    return visible


@pytest.mark.parametrize("kind", [kind for kind in HIDING if KINDS[kind].cells])
@settings(max_examples=12, deadline=None)
@given(st.sampled_from(FILLS), sizes, grids, samples, severities)
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


@pytest.mark.parametrize("kind", DRAWN)
@settings(max_examples=20, deadline=None)
@given(sizes, samples, severities, turned)
def test_drawn_kinds_hide_the_wanted_share_until_they_end(kind, size, sample_id, severity, turned):
    points = POINTS * size if turned else None
    _, visible = hide(face(size, size), kind, severity, sample_id, 14, landmarks=points)
    hidden = 1 - visible.mean()
    if KINDS[kind].ends:
        assert hidden <= severity + 0.03
    else:
        assert hidden == pytest.approx(severity, abs=0.03)


@pytest.mark.parametrize("kind", DRAWN)
def test_natural_sizes_are_reached_and_not_passed(kind):
    """An object that ends hides at least 10 % of any face, and no more at .9 than at 1."""
    shares = np.array(
        [
            [1 - hide(face(96, 96), kind, severity, n, 14)[1].mean() for severity in (0.1, 0.9, 1.0)]
            for n in range(12)
        ]
    )
    assert (np.abs(shares[:, 0] - 0.1) <= 0.03).all()
    if KINDS[kind].ends:
        np.testing.assert_array_equal(shares[:, 1], shares[:, 2])
        assert (shares[:, 1] < 0.9).all()


@pytest.mark.parametrize("kind", HIDING)
def test_the_layout_of_the_picture_in_memory_does_not_matter(kind):
    image = face(64, 48)
    strange = np.asfortranarray(image)[::1]
    assert not strange.flags.c_contiguous
    for same, plain in zip(hide(strange, kind, 0.5, 3, 8), hide(image, kind, 0.5, 3, 8)):
        np.testing.assert_array_equal(same, plain)


@pytest.mark.parametrize("kind", DRAWN)
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
    expected = five_points(full)
    for points in (reduced, full[17:], reduced[17:], expected):
        np.testing.assert_allclose(five_points(points), expected)
    with pytest.raises(UserError, match="12 landmarks"):
        five_points(full[:12])
    with pytest.raises(UserError, match="finite"):
        five_points(full * np.nan)


def test_au_targeted_hides_the_regions_of_the_chosen_aus():
    def hidden_share(au: int, aus: tuple[int, ...]) -> float:
        _, visible = hide(face(224, 224), "au_targeted", 0.25, 1, 14, aus=aus)
        x0, y0, x1, y1 = (round(edge * 224) for edge in au_region(au, "canonical"))
        return 1 - visible[y0:y1, x0:x1].mean()

    assert hidden_share(12, (12, 15)) > 0.95 and hidden_share(12, (1, 2)) < 0.2
    assert hidden_share(1, (1, 2)) > 0.9


def test_saliency_hides_the_most_salient_cells():
    saliency = np.zeros((8, 8))
    saliency[2:4, 5:7] = 1
    _, visible = hide(face(64, 64), "saliency", 4 / 64, 1, 8, saliency=saliency)
    assert not visible[16:32, 40:56].any() and visible.sum() == 64 * 64 - 16 * 16


def test_pools_share_no_texture_and_no_shape():
    for material in MATERIALS:
        tiles = [
            hashlib.sha256(tile(pool, material, index).pixels).digest()
            for pool, size in POOL_SIZES.items()
            for index in range(size)
        ]
        assert len(set(tiles)) == len(tiles)
        tile.cache_clear()
    assert not set(CLOTH["held-out"]) & set(CLOTH["train"] + CLOTH["test"])
    assert not set(NOISE["held-out"]) & set(NOISE["train"] + NOISE["test"])
    for kind in set(DRAWN) - {"objects"}:
        shapes = [
            shape_generator(pool, kind, index).random(4).tobytes()
            for pool, size in POOL_SIZES.items()
            for index in range(size)
        ]
        assert len(set(shapes)) == len(shapes)


@pytest.mark.parametrize("kind", sorted(set(DRAWN) - {"objects"}))
@pytest.mark.parametrize("seed, pool", [(0, "test"), (-1, "held-out"), (1, "train"), (2_000_000, "train")])
def test_a_seed_draws_from_its_own_pool_alone(kind, seed, pool, monkeypatch):
    asked = set()
    for module, name in ((textures, "tile"), (shapes, "shape_generator")):
        original = getattr(module, name)

        def spy(pool, *key, original=original):
            asked.add(pool)
            return original(pool, *key)

        for user in (textures, shapes, worn, held, blobs):
            if hasattr(user, name):
                monkeypatch.setattr(user, name, spy)
    for cached in (worn._glasses, worn._mask, worn._hair, held._hand, held._cup, held._microphone):
        cached.cache_clear()
    blobs._outline.cache_clear()
    for sample_id in range(6):
        occlude(face(48, 48), OcclusionSpec(kind, 0.3, seed), sample_id, grid=8, **GIVEN)
    assert asked == {pool}
    assert pool_of(seed) == pool


def test_training_never_uses_the_seeds_of_evaluation():
    seeds = {training_seed(run, epoch) for run in range(20) for epoch in range(300)}
    assert len(seeds) == 6000 and {pool_of(seed) for seed in seeds} == {"train"}


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
