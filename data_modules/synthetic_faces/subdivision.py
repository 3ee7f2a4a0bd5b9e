"""One step of Catmull-Clark subdivision as a sparse matrix, so that every morph target can pass through it.

Catmull & Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes", 1978; boundary
rule of Hoppe et al., 1994. Meshes have quads only.
"""

import numpy as np
from scipy import sparse


def catmull_clark(
    quads: np.ndarray, count: int, smooth: np.ndarray
) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Subdivide `quads` (F, 4) over `count` vertices.

    `smooth` (F,) bool: where False the face is split but its shape is kept. Returns the matrix (V, count)
    that makes the new vertices from the old, the new quads (4F, 4) and the old face that each of them came
    from (4F,).
    """
    faces = len(quads)
    corners = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)  # (4F, 2) half-edges
    edges, edge_of = np.unique(np.sort(corners, axis=1), axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1)
    face_of = np.repeat(np.arange(faces), 4)
    ends = _incidence(np.repeat(np.arange(len(edges)), 2), edges.ravel(), (len(edges), count))
    face_points = _incidence(face_of, quads.ravel(), (faces, count)) / 4
    edge_faces = _incidence(edge_of, face_of, (len(edges), faces))
    inner = np.asarray(edge_faces.sum(1)).ravel() == 2
    smooth_edge = np.ones(len(edges), bool)
    smooth_edge[edge_of[~smooth[face_of]]] = False
    midpoints = ends / 2
    rounded = ends / 4 + edge_faces @ face_points / 4
    edge_points = _rows(inner & smooth_edge) @ rounded + _rows(~(inner & smooth_edge)) @ midpoints
    vertex_points = _vertex_points(edges, inner, smooth_edge, quads, face_points, midpoints, count)
    matrix = sparse.vstack([vertex_points, edge_points, face_points]).tocsr()
    edge_id = (count + edge_of).reshape(-1, 4)
    centre = np.broadcast_to((count + len(edges) + np.arange(faces))[:, None], (faces, 4))
    fine = np.stack([quads, edge_id, centre, np.roll(edge_id, 1, axis=1)], axis=2).reshape(-1, 4)
    return matrix, fine, face_of


def _vertex_points(edges, inner, smooth_edge, quads, face_points, midpoints, count) -> sparse.csr_matrix:
    """Where the old vertices move: (F̄ + 2Ē + (n − 3)P)/n inside, (e₁ + 6P + e₂)/8 on a boundary."""
    vertex_edges = _incidence(edges.ravel(), np.repeat(np.arange(len(edges)), 2), (count, len(edges)))
    vertex_faces = _incidence(quads.ravel(), np.repeat(np.arange(len(quads)), 4), (count, len(quads)))
    valence = np.maximum(np.asarray(vertex_faces.sum(1)).ravel(), 1)
    identity = sparse.identity(count, format="csr")
    inside = (
        sparse.diags(1 / valence**2) @ (vertex_faces @ face_points)
        + sparse.diags(2 / valence**2) @ (vertex_edges @ midpoints)
        + sparse.diags((valence - 3) / valence) @ identity
    )
    rim = vertex_edges @ _rows(~inner)
    on_rim = np.asarray(rim.sum(1)).ravel()
    boundary = sparse.diags(1 / np.maximum(2 * on_rim, 1)) @ (rim @ midpoints) + identity * 0.5
    fixed = np.asarray((vertex_edges @ _rows(~smooth_edge)).sum(1)).ravel() > 0
    crease = (on_rim == 2) & ~fixed
    plain = (on_rim == 0) & ~fixed
    return _rows(plain) @ inside + _rows(crease) @ boundary + _rows(~plain & ~crease) @ identity


def _incidence(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()


def _rows(chosen: np.ndarray) -> sparse.dia_matrix:
    """A diagonal matrix that keeps the chosen rows."""
    return sparse.diags(chosen.astype(np.float64))
