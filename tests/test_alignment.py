"""Face detection, alignment and frame-exact video."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from data_modules.errors import UserError
from data_modules.faces.alignment import Face, align, choose_face, crop_matrix, similarity
from data_modules.faces.detection import FaceDetector
from data_modules.faces.pictures import read_picture
from data_modules.facs import CANONICAL_POINTS, PRESETS
from data_modules.landmarks import five_points
from data_modules.synthetic import prepare_synthetic

FACELESS = (
    *(
        "coffee",
        "chelsea",
        "rocket",
        "hubble_deep_field",
        "immunohistochemistry",
        "colorwheel",
        "coins",
        "moon",
    ),
    *("page", "text", "brick", "grass", "gravel", "clock", "horse", "checkerboard", "logo", "microaneurysms"),
    *("shepp_logan_phantom", "cell"),
)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def as_rgb(image: np.ndarray) -> np.ndarray:
    image = image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, 2))


def test_the_astronaut_has_one_face(detector: FaceDetector) -> None:
    (face,) = detector.detect([data.astronaut()])[0]
    expected = [(204, 102), (246, 104), (225, 128), (203, 139), (245, 140)]  # read off the photo
    assert np.abs(face.points - expected).max() < 4 and face.score > 0.95


def test_no_face_where_there_is_none(detector: FaceDetector) -> None:
    """But for a cell under the microscope, which has one."""
    false = [name for name in FACELESS if detector.find(as_rgb(getattr(data, name)()))]
    assert false in ([], ["cell"])


def test_pictures_of_any_mix_of_sizes_are_answered_in_order(detector: FaceDetector) -> None:
    photo = data.astronaut()
    large = cv2.resize(photo, (2500, 2500), interpolation=cv2.INTER_CUBIC)
    found = detector.detect([photo, data.coffee(), large, photo[:, ::-1], np.zeros((5, 5, 3), np.uint8)])
    assert [len(faces) for faces in found] == [1, 0, 1, 1, 0]
    np.testing.assert_allclose(found[2][0].points * 512 / 2500, found[0][0].points, atol=2)
    mirrored = (511, 0) - found[3][0].points[[1, 0, 2, 4, 3]] * (1, -1)
    np.testing.assert_allclose(mirrored, found[0][0].points, atol=2)
    assert detector.detect([]) == []


def test_the_largest_face_then_the_nearest() -> None:
    def face(x: float, side: float) -> Face:
        return Face(np.array([x, 0, x + side, side]), 0.9, np.full((5, 2), x + side / 2))

    small, large = face(0, 10), face(100, 30)
    assert choose_face([small, large]) is large and choose_face([small, large], last=face(5, 10)) is small
    assert choose_face([]) is None


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 4), st.floats(-3, 3), st.floats(-200, 200), st.floats(-200, 200))
def test_similarity_is_recovered(scale: float, angle: float, x: float, y: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.random.default_rng(0).normal(size=(7, 2)) * 50
    matrix = similarity(points, points @ turn.T + (x, y))
    np.testing.assert_allclose(matrix, np.column_stack([turn, (x, y)]), atol=1e-6)


@pytest.mark.parametrize("size", [64, 224, 512])
def test_aligned_points_come_to_their_places(detector: FaceDetector, size: int) -> None:
    """However the photo is turned, its five points land where `facs` says, and are found there again."""
    photo = data.astronaut()
    for angle in (-20, 0, 25):
        turned = cv2.warpAffine(photo, cv2.getRotationMatrix2D((225, 128), angle, 1.5), (512, 512))
        (face,) = detector.detect([turned])[0]
        crop = align(turned, face, size)
        assert crop.shape == (size, size, 3) and crop.dtype == np.uint8
        matrix = crop_matrix(face, size)
        moved = face.points @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(moved / size - CANONICAL_POINTS).max() < 0.07
        if size >= 224:
            (again,) = detector.detect([crop])[0]
            assert np.abs(again.points - moved).max() < 0.03 * size


def test_the_published_crops(detector: FaceDetector) -> None:
    """Each preset's own definition: eyes level or not, and how much of the crop the face takes."""
    turned = cv2.warpAffine(data.astronaut(), cv2.getRotationMatrix2D((225, 128), 15, 1.5), (512, 512))
    (face,) = detector.detect([turned])[0]
    places = {}
    for preset in PRESETS:
        crop, matrix = align(turned, face, 200, preset), crop_matrix(face, 200, preset)
        assert crop.shape == (200, 200, 3) and crop.mean() > 40
        places[preset] = face.points @ matrix[:, :2].T + matrix[:, 2]
    jaa = places["jaa_net"]
    assert abs(jaa[0, 1] - jaa[1, 1]) < 1e-3  # eyes level
    np.testing.assert_allclose((jaa.max(0) + jaa.min(0)) / 2, 99.5, atol=1e-3)
    assert np.ptp(jaa, 0).max() == pytest.approx(199 / 2.9, rel=1e-3)
    slope = np.subtract(*face.points[[1, 0]]), np.subtract(*places["fmae"][[1, 0]])
    assert np.arctan2(*slope[0]) == pytest.approx(np.arctan2(*slope[1]), abs=1e-4)  # not turned
    assert 0.3 < np.subtract(*places["me_graphau"][[1, 0]])[0] / 200 < 0.42
    with pytest.raises(UserError, match="own"):
        align(turned, face, 200, "own")


def huge_png(path: Path) -> None:
    """A PNG whose header says 30,000×30,000; nobody should ask for its pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")))


def test_hostile_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    huge_png(tmp_path / "huge.png")
    (tmp_path / "zip.jpg").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    for path in [*tmp_path.iterdir(), tmp_path / "gone.jpg"]:
        with pytest.raises(UserError, match=path.name) as error:
            read_picture(path)
        assert "\n" not in str(error.value)


def check_synthetic(detector: FaceDetector, folder: Path, faces: int) -> None:
    """All but one in fifty are found (one of few may be missed). The outline's five points and the detector's differ
    in kind (a lid line's mean is not a pupil), so the error on frontal faces is that left after the constant
    difference between the two; 6 % of the eye distance guards what is reached, it is not the aim."""
    store = prepare_synthetic(folder / "s", identities=faces // 2, frames=2, size=224, seed=7, progress=False)
    found = detector.detect([store.image(row) for row in range(faces)])
    assert sum(len(one) != 1 for one in found) <= max(1, faces // 50)
    errors = []
    for row, one in enumerate(found):
        truth = five_points(store.landmarks(row))
        eyes = np.linalg.norm(truth[1] - truth[0])
        frontal = abs(truth[2, 0] - truth[:2, 0].mean()) < 0.1 * eyes
        if one and frontal:
            errors.append((one[0].points - truth) / eyes)
    residual = np.linalg.norm(np.array(errors) - np.median(errors, 0), axis=2)  # (F, 5)
    assert residual.mean() < 0.06 and np.abs(np.median(errors, 0)).max() < 0.1


def test_synthetic_faces_are_found(detector: FaceDetector, tmp_path: Path) -> None:
    check_synthetic(detector, tmp_path, 16)


@pytest.mark.slow
def test_a_hundred_synthetic_faces_are_found(detector: FaceDetector, tmp_path: Path) -> None:
    check_synthetic(detector, tmp_path, 100)
