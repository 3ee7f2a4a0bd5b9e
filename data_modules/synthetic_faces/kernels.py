"""Compiled inner loops over triangles: normals, z-buffer, shadow map. Screen x to the right, y down, smaller
depth is nearer."""

import math

import numpy as np
from numba import njit

FAR = np.float32(1e9)
INSIDE = -1e-5  # least weight of a pixel inside a triangle: neighbours overlap rather than leave gaps


@njit(cache=True, fastmath=True, error_model="numpy")
def add_rows(points, weight, index, offset):
    """Add `weight` times offsets (R, 3) to the vertices `index` (R,) of points (V, 3), in place."""
    for row in range(len(index)):
        v = np.uint32(index[row])
        points[v, 0] += weight * offset[row, 0]
        points[v, 1] += weight * offset[row, 1]
        points[v, 2] += weight * offset[row, 2]


@njit(cache=True, fastmath=True, error_model="numpy")
def vertex_normals(points, triangles):
    """Unit normals (V, 3) of points (V, 3), weighted by triangle area."""
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for v in range(points.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        scale = np.float32(1) / (math.sqrt(x * x + y * y + z * z) + np.float32(1e-12))
        normals[v, 0] = x * scale
        normals[v, 1] = y * scale
        normals[v, 2] = z * scale
    return normals


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def weights_at(screen, a, b, c, x, y):
    """Weights of a triangle's second and third corner at a place of the screen; the three sum to 1."""
    ax, ay = screen[a, 0], screen[a, 1]
    x1, y1, x2, y2 = screen[b, 0] - ax, screen[b, 1] - ay, screen[c, 0] - ax, screen[c, 1] - ay
    area = x1 * y2 - x2 * y1
    if abs(area) < np.float32(1e-12):
        return np.float32(0), np.float32(0)
    scale, dx, dy = np.float32(1) / area, x - ax, y - ay
    return (dx * y2 - dy * x2) * scale, (dy * x1 - dx * y1) * scale


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def triangle_setup(screen, a, b, c, rows, columns, both_sides):
    """A triangle in pixels: which pixel centres it may cover, and its weights as linear functions of place.

    Returns (top, bottom, left, right, x0, y0, along1, down1, along2, down2): rows top to bottom, whole
    numbers, are met; `left`, `right` bound the columns; weight k of the centre of pixel (x, y) is
    `along * (x - x0) + down * (y - y0)`. No rows (top > bottom) for what is off the picture, covers no
    centre, or is degenerate, and for back faces unless `both_sides`. Front faces have a negative area, as y
    points down.
    """
    zero, half = np.float32(0), np.float32(0.5)
    x0, y0 = screen[a, 0] - half, screen[a, 1] - half  # so that pixel centres are whole numbers
    x1, y1 = screen[b, 0] - half - x0, screen[b, 1] - half - y0
    x2, y2 = screen[c, 0] - half - x0, screen[c, 1] - half - y0
    area = x1 * y2 - x2 * y1
    if area < np.float32(-1e-9) or (both_sides and area > np.float32(1e-9)):
        left, right = max(zero, x0 + min(zero, x1, x2)), min(np.float32(columns - 1), x0 + max(zero, x1, x2))
        high, low = max(zero, y0 + min(zero, y1, y2)), min(np.float32(rows - 1), y0 + max(zero, y1, y2))
        if right >= zero and low >= zero and _first(left) <= right:
            scale = np.float32(1) / area
            top, bottom = _first(high), np.int32(low)
            return top, bottom, left, right, x0, y0, y2 * scale, -x2 * scale, -y1 * scale, x1 * scale
    return np.int32(0), np.int32(-1), zero, zero, x0, y0, zero, zero, zero, zero


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def _first(x):
    """The first whole number from x >= 0 on, but for rounding."""
    return np.int32(x + np.float32(0.99999))


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def inverse(along):
    """1 / along, finite."""
    return np.float32(1) / (along if abs(along) > np.float32(1e-12) else np.float32(1e-12))


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def row_span(left, right, x0, w1, w2, inverse0, inverse1, inverse2):
    """First and last column (last < first: none) of a row whose centres lie in the triangle.

    `w1`, `w2`: its weights at x0 in this row; `inverse`: of how each weight grows along the row.
    """
    inside, zero = np.float32(INSIDE), np.float32(0)
    cut0 = (inside - np.float32(1) + w1 + w2) * inverse0 + x0
    cut1, cut2 = (inside - w1) * inverse1 + x0, (inside - w2) * inverse2 + x0
    if inverse0 > zero:
        left = max(left, cut0)
    else:
        right = min(right, cut0)
    if inverse1 > zero:
        left = max(left, cut1)
    else:
        right = min(right, cut1)
    if inverse2 > zero:
        left = max(left, cut2)
    else:
        right = min(right, cut2)
    if left > right:
        return np.int32(0), np.int32(-1)
    return _first(left), np.int32(right)


@njit(cache=True, fastmath=True, error_model="numpy")
def rasterize(screen, triangles, solid, height, width):
    """z-buffer of triangles over screen points (V, 3): x, y in pixels, depth; all float32.

    `solid` (T,) bool: True where the back of a triangle is not drawn. Returns depth (H, W) and triangle
    number (H, W), −1 = nothing.
    """
    depth = np.full((height, width), FAR, np.float32)
    number = np.full((height, width), -1, np.int32)
    for t in range(triangles.shape[0]):
        a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        top, bottom, left, right, x0, y0, along1, down1, along2, down2 = triangle_setup(
            screen, a, b, c, height, width, not solid[t]
        )
        if top > bottom:
            continue
        inverse0, inverse1, inverse2 = inverse(-along1 - along2), inverse(along1), inverse(along2)
        z0 = screen[a, 2]
        z1, z2 = screen[b, 2] - z0, screen[c, 2] - z0
        step = along1 * z1 + along2 * z2
        for y in range(top, bottom + 1):
            dy = np.float32(y) - y0
            w1, w2 = down1 * dy, down2 * dy
            first, last = row_span(left, right, x0, w1, w2, inverse0, inverse1, inverse2)
            z = z0 + w1 * z1 + w2 * z2 + (np.float32(first) - x0) * step
            row = np.uint32(y)
            for x in range(first, last + 1):
                column = np.uint32(x)
                if z < depth[row, column]:
                    depth[row, column] = z
                    number[row, column] = t
                z += step
    return depth, number


@njit(cache=True, fastmath=True, error_model="numpy")
def shadow_depth(screen, triangles, size):
    """Depth (size, size) of the nearest front face as the light sees it."""
    return rasterize(screen, triangles, np.ones(len(triangles), np.bool_), size, size)[0]
