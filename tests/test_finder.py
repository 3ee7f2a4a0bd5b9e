"""Covered faces are found, their points stay, and faces of a video keep their numbers."""

from functools import cache

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from data_modules.faces.alignment import Face, align, crop_matrix, similarity
from data_modules.faces.detection import FaceDetector
from data_modules.faces.tracking import FaceTracker
from data_modules.facs import CANONICAL_POINTS
from data_modules.landmarks import five_points
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.synthetic_faces.draw import draw_frame, draw_identity

SIDE, FRAME = 160, 240  # pixels of a rendered crop, and of the picture around it


@pytest.fixture(scope="module")
def finder() -> FaceDetector:
    return FaceDetector()


@cache
def rendered() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures (FRAME, FRAME, 3) of eight rendered people, and their five points (5, 2)."""
    drawn = [draw_frame(draw_identity(3, number), 3, 0, SIDE, "bp4d") for number in range(8)]
    edge = (FRAME - SIDE) // 2
    return [
        (
            cv2.copyMakeBorder(face.image, *[edge] * 4, cv2.BORDER_REPLICATE),
            five_points(face.landmarks) + edge,
        )
        for face in drawn
    ]


def covered(picture: np.ndarray, points: np.ndarray, kind: str, severity: float, number: int) -> np.ndarray:
    """With an occlusion drawn on the face."""
    matrix = crop_matrix(Face(np.zeros(4), 1.0, points), SIDE)
    crop = align(picture, Face(np.zeros(4), 1.0, points), SIDE)
    marks = points @ matrix[:, :2].T + matrix[:, 2]
    donor = rendered()[number - 1][0]
    drawn, visible = occlude(
        crop, OcclusionSpec(kind, severity, 0), number, grid=16, landmarks=marks, donor=donor
    )
    back = cv2.invertAffineTransform(matrix)
    size = (picture.shape[1], picture.shape[0])
    hidden = cv2.warpAffine((~visible).astype(np.uint8), back, size)[..., None]
    return np.where(hidden > 0, cv2.warpAffine(drawn, back, size), picture)


def moved(points: np.ndarray, before: np.ndarray) -> float:
    """How far the corners of the canonical crop go, in sides of it."""
    target, corners = np.array(CANONICAL_POINTS), np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    old = similarity(before, target)
    new = similarity(points @ old[:, :2].T + old[:, 2], target)
    return float(np.linalg.norm(corners @ new[:, :2].T + new[:, 2] - corners, axis=1).mean())


@pytest.mark.parametrize("kind", ["mask", "sunglasses", "hand", "hair", "cup", "texture", "other_face"])
def test_a_covered_face_is_found_where_it_is(finder: FaceDetector, kind: str) -> None:
    """Of eight rendered people and the astronaut, at a quarter hidden; at most two are missed. Another face that is
    drawn over is itself a face, somewhere else."""
    photo = astronaut()
    (plain,) = finder.find(photo)
    shifts = []
    for number, (picture, points) in enumerate([*rendered(), (photo, plain.points)]):
        found = finder.find(covered(picture, points, kind, 0.25, number % 8))
        shifts += [min(moved(face.points, points) for face in found)] if found else []
    assert len(shifts) >= 7 and np.median(shifts) < (0.2 if kind == "other_face" else 0.08)


def test_crops_of_uncovered_faces_are_where_their_landmarks_put_them(finder: FaceDetector) -> None:
    shifts = [moved(finder.find(picture)[0].points, points) for picture, points in rendered()]
    assert np.median(shifts) < 0.06


def shown(*places: int | None) -> np.ndarray:
    """A frame (240, 640, 3) with the astronaut's head at these columns."""
    frame = np.full((240, 640, 3), 96, np.uint8)
    for place in places:
        if place is not None:
            frame[20:220, place : place + 200] = astronaut()[20:220, 120:320]
    return frame


def test_faces_keep_their_numbers_while_they_move_and_after_they_were_gone(finder: FaceDetector) -> None:
    tracker, numbers = FaceTracker(finder), []
    ways = [(20 + 4 * step, None if step in (5, 6) else 400 - 4 * step) for step in range(12)]
    for frame, places in enumerate(ways, 1):
        faces = tracker.track(shown(*places), frame)
        numbers.append({face.track: face.points[2, 0] < 320 for face in faces})
    assert len(numbers[0]) == 2 and numbers[5] == {k: left for k, left in numbers[0].items() if left}
    assert all(one == numbers[0] for one in [*numbers[:5], numbers[-1]])
    (gone,) = [number for number, left in numbers[0].items() if not left]
    assert [gap[:2] for gap in tracker.gaps] == [(gone, 5)]


def test_a_followed_face_is_where_a_search_finds_it(finder: FaceDetector) -> None:
    tracker = FaceTracker(finder)
    for frame in range(1, 8):
        picture = shown(40 + 3 * frame)
        (face,) = tracker.track(picture, frame)
    (found,) = finder.find(picture)
    assert moved(face.points, found.points) < 0.02
