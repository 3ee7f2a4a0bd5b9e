"""Compiled inner loops of the renderer: normals, z-buffer, shading. Screen x to the right, y down, smaller
depth is nearer."""

import math

import numpy as np
from numba import njit

FAR = np.float32(1e9)
INSIDE = -1e-5  # least weight of a pixel inside a triangle: neighbours overlap rather than leave gaps


@njit(cache=True, fastmath=True, error_model="numpy")
def vertex_normals(points, triangles):
    """Unit normals (V, 3) of points (V, 3), weighted by triangle area."""
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(points.shape[0]):
        length = math.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v, 0] /= length
        normals[v, 1] /= length
        normals[v, 2] /= length
    return normals


@njit(cache=True, fastmath=True, error_model="numpy")
def triangle_setup(screen, a, b, c, rows, columns):
    """A triangle in pixels: twice its signed area, its pixel bounds, and its weights as affine functions.

    Weight k of the pixel centre (x, y) is `constant + along * x + down * y`. Front faces have a negative
    area, as y points down. Returns (area, left, right, top, bottom, constant1, along1, down1, constant2,
    along2, down2).
    """
    x0, y0 = float(screen[a, 0]), float(screen[a, 1])
    x1, y1, x2, y2 = screen[b, 0] - x0, screen[b, 1] - y0, screen[c, 0] - x0, screen[c, 1] - y0
    area = x1 * y2 - x2 * y1
    scale = 1.0 / area if abs(area) > 1e-9 else 0.0
    along1, down1, along2, down2 = y2 * scale, -x2 * scale, -y1 * scale, x1 * scale
    left, right = max(0, math.ceil(x0 + min(0.0, x1, x2) - 0.5)), math.floor(x0 + max(0.0, x1, x2) - 0.5)
    top, bottom = max(0, math.ceil(y0 + min(0.0, y1, y2) - 0.5)), math.floor(y0 + max(0.0, y1, y2) - 0.5)
    right, bottom = min(columns - 1, right), min(rows - 1, bottom)
    constant1, constant2 = -(x0 * along1 + y0 * down1), -(x0 * along2 + y0 * down2)
    return area, left, right, top, bottom, constant1, along1, down1, constant2, along2, down2


@njit(cache=True, fastmath=True, error_model="numpy")
def rasterize(screen, triangles, solid, height, width):
    """z-buffer of triangles over screen points (V, 3): x, y in pixels, depth.

    `solid` (T,) bool: True where the back of a triangle is not drawn. Returns depth (H, W), triangle number
    (H, W), −1 = nothing, and the weights of its second and third corners (H, W, 2).
    """
    depth = np.full((height, width), FAR, np.float32)
    number = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 2), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        area, left, right, top, bottom, c1, x1, y1, c2, x2, y2 = triangle_setup(
            screen, a, b, c, height, width
        )
        if abs(area) < 1e-9 or (solid[t] and area > 0):
            continue
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w1 = c1 + x1 * (x + 0.5) + y1 * (y + 0.5)
                w2 = c2 + x2 * (x + 0.5) + y2 * (y + 0.5)
                w0 = 1.0 - w1 - w2
                if w0 < INSIDE or w1 < INSIDE or w2 < INSIDE:
                    continue
                z = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    number[y, x] = t
                    weights[y, x, 0] = w1
                    weights[y, x, 1] = w2
    return depth, number, weights


@njit(cache=True, fastmath=True, error_model="numpy")
def shadow_depth(screen, triangles, size):
    """Depth (size, size) of the nearest front face as the light sees it."""
    depth = np.full((size, size), FAR, np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        area, left, right, top, bottom, c1, x1, y1, c2, x2, y2 = triangle_setup(screen, a, b, c, size, size)
        if area > -1e-9:
            continue
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w1 = c1 + x1 * (x + 0.5) + y1 * (y + 0.5)
                w2 = c2 + x2 * (x + 0.5) + y2 * (y + 0.5)
                w0 = 1.0 - w1 - w2
                if w0 >= INSIDE and w1 >= INSIDE and w2 >= INSIDE:
                    depth[y, x] = min(depth[y, x], w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2])
    return depth
