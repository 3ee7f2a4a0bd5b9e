"""Face regions in every crop preset: where a crop shows an AU, there its rectangle is."""

from functools import cache

import numpy as np
import pytest

from data_modules.faces.alignment import MEAN_FACE, Face, crop_matrix, face_from_landmarks, similarity
from data_modules.facs import AUS, CANONICAL_POINTS, PRESETS, Rectangle, au_region, shown_at
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.synthetic_faces.draw import draw_frame, draw_identity

SIZE = 96
EYES, LOWER_LIDS, LIP_CORNERS, LIPS = [*range(36, 48)], [40, 41, 46, 47], [48, 54], [51, 62, 66]
# The landmarks (iBUG 68) where each AU shows; "chin" is the boss, half-way between lower lip and jaw.
SHOWN_BY: dict[int, list[int | str]] = {
    1: [21, 22],
    2: [17, 18, 25, 26],
    4: [20, 21, 22, 23],
    5: EYES,
    6: LOWER_LIDS,
    7: EYES,
    9: [28, 29],
    10: [50, 51, 52],
    12: LIP_CORNERS,
    14: LIP_CORNERS,
    15: LIP_CORNERS,
    16: [66],  # the edge of the lower lip
    17: ["chin"],
    18: LIPS,
    20: LIP_CORNERS,
    22: LIPS,
    23: LIPS,
    24: LIPS,
    25: LIPS,
    26: [66, 57, "chin"],
    27: [66, 57, "chin"],
    43: EYES,
}


@cache
def rendered() -> list[np.ndarray]:
    """Landmarks (68, 2) of 40 rendered faces, 20 people."""
    people = [draw_identity(3, number) for number in range(20)]
    return [draw_frame(person, 3, index, SIZE, "bp4d").landmarks for person in people for index in (0, 1)]


def in_crop(landmarks: np.ndarray, preset: str) -> np.ndarray:
    """Where a crop by `preset` shows landmarks (68, 2) and the chin: (69, 2) fractions; the nearest place if beyond."""
    matrix = crop_matrix(face_from_landmarks(landmarks), SIZE, preset)
    points = np.vstack([landmarks, landmarks[[57, 8]].mean(0)])
    return np.clip((points @ matrix[:, :2].T + matrix[:, 2] + 0.5) / SIZE, 0, 1)


def holds(region: Rectangle, points: np.ndarray) -> bool:
    x0, y0, x1, y1 = region
    return bool(((points >= (x0, y0)) & (points <= (x1, y1))).all())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("au", AUS)
def test_the_region_of_an_au_holds_its_landmarks_in_nearly_every_face(au: int, preset: str) -> None:
    places = [68 if place == "chin" else place for place in SHOWN_BY[au]]
    inside = [holds(au_region(au, preset), in_crop(landmarks, preset)[places]) for landmarks in rendered()]
    assert np.mean(inside) >= 0.95


def test_regions_of_another_preset_would_miss() -> None:
    """In a crop by me_graphau the canonical rectangle of AU12 ends above the mouth corners of a third of the faces."""
    points = [in_crop(landmarks, "me_graphau")[LIP_CORNERS] for landmarks in rendered()]
    assert np.mean([holds(au_region(12, "canonical"), corners) for corners in points]) < 0.75


@pytest.mark.parametrize("preset", PRESETS)
def test_where_a_preset_shows_things_follows_from_its_crop(preset: str) -> None:
    """The mean face, moved onto the canonical points, cut by the preset: parts are where `shown_at` says."""
    canonical = similarity(MEAN_FACE.points, np.array(CANONICAL_POINTS))
    corners = MEAN_FACE.box.reshape(2, 2)
    points, box = (places @ canonical[:, :2].T + canonical[:, 2] for places in (MEAN_FACE.points, corners))
    face = Face((box * 1000 - 0.5).reshape(4), 1.0, points * 1000 - 0.5)
    matrix = crop_matrix(face, 1000, preset)
    shown = (face.points @ matrix[:, :2].T + matrix[:, 2] + 0.5) / 1000
    np.testing.assert_allclose(shown, [shown_at(point, preset) for point in points], atol=0.005)


def test_the_box_of_landmarks_is_that_of_the_mean_face_on_them_whatever_the_layout() -> None:
    landmarks = rendered()[0]
    face = face_from_landmarks(landmarks)
    five = face_from_landmarks(face.points)
    np.testing.assert_allclose(five.box, face.box, atol=1e-3)
    x0, y0, x1, y1 = face.box
    assert x0 < landmarks[36:48, 0].min() and x1 > landmarks[36:48, 0].max()
    assert y0 < landmarks[17:27, 1].min() - 0.1 * (y1 - y0)  # the forehead is inside


@pytest.mark.parametrize("kind", ["eyes", "mouth", "au_targeted", "sunglasses", "mask", "hand"])
def test_without_landmarks_parts_are_where_the_preset_has_them(kind: str) -> None:
    """The mask of a face without landmarks is that of one whose five points stand where its crop has them."""
    face, spec = np.full((224, 224, 3), 90, np.uint8), OcclusionSpec(kind, 0.3)
    masks = {}
    for preset in ("canonical", "me_graphau"):
        points = np.array([shown_at(point, preset) for point in CANONICAL_POINTS]) * 224
        _, told = occlude(face, spec, 5, grid=14, landmarks=points)
        _, masks[preset] = occlude(face, spec, 5, grid=14, preset=preset)
        np.testing.assert_array_equal(masks[preset], told)
    assert not np.array_equal(masks["canonical"], masks["me_graphau"])
