"""The 478 points of the face mesh: which are which, the five points in them, and the square that frames a face."""

import numpy as np

from data_modules.faces.face_nets import WINDOW

_LEFT_OUTER, _RIGHT_OUTER = 33, 263  # corners of the eyes
# Of the mesh's points with these weights each of the five points is made: an eye of its corners, lids and pupil, the
# nose's tip, a mouth corner. Set on 78 uncovered photographs, so that crops stay as they were by MTCNN's five points,
# from which they differ as much as MTCNN's do on a mirrored picture (`benchmarks/face_finders.py`).
_EYE, _NOSE, _CORNER = (0.34, 0.24, 0.18, 0.10, 0.14), (0.97, 0.03), (1.04, -0.04)
_FIVE = (
    dict(zip((33, 133, 159, 145, 468), _EYE)),
    dict(zip((263, 362, 386, 374, 473), _EYE)),
    dict(zip((1, 168), _NOSE)),
    dict(zip((61, 13), _CORNER)),
    dict(zip((291, 13), _CORNER)),
)


def five_points_of_mesh(mesh: np.ndarray) -> np.ndarray:
    """Eyes, nose tip and mouth corners (5, 2) of a mesh (478, 2)."""
    return np.array([sum(weight * mesh[point] for point, weight in part.items()) for part in _FIVE])


def window_matrix(middle: np.ndarray, side: float, across: np.ndarray) -> np.ndarray:
    """The 2×3 similarity from a picture to the mesh net's window: a square (2,), `side` pixels wide, turned until
    `across` (2,), from the viewer's left eye to the right one, is level."""
    cosine, sine = across / max(float(np.linalg.norm(across)), 1e-6) * WINDOW / side
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([turn, (WINDOW - 1) / 2 - turn @ middle])


def mesh_square(mesh: np.ndarray, enlarge: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Middle, side and direction, see `window_matrix`, of the square around a mesh (478, 2), enlarged."""
    across = mesh[_RIGHT_OUTER] - mesh[_LEFT_OUTER]
    cosine, sine = across / max(float(np.linalg.norm(across)), 1e-6)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    level = mesh @ turn.T
    low, high = level.min(0), level.max(0)
    return turn.T @ ((low + high) / 2), enlarge * float((high - low).max()), across
