"""Compiled inner loops of the renderer: normals, z-buffer, shading. Screen x to the right, y down, smaller depth is nearer."""

import math

import numpy as np
from numba import njit

FAR = np.float32(1e9)


@njit(cache=True, fastmath=True)
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


@njit(cache=True, fastmath=True)
def rasterize(screen, triangles, solid, height, width):
    """z-buffer of triangles over screen points (V, 3): x, y in pixels, depth.

    `solid` (T,) bool: True where the back of a triangle is not drawn. Returns depth (H, W), triangle number (H, W),
    −1 = nothing, and the weights of its second and third corners (H, W, 2).
    """
    depth = np.full((height, width), FAR, np.float32)
    number = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 2), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = (
            screen[a, 0],
            screen[a, 1],
            screen[b, 0],
            screen[b, 1],
            screen[c, 0],
            screen[c, 1],
        )
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9 or (solid[t] and area > 0):  # y points down: front faces turn clockwise
            continue
        left, right = (
            max(0, math.ceil(min(x0, x1, x2) - 0.5)),
            min(width - 1, math.floor(max(x0, x1, x2) - 0.5)),
        )
        top, bottom = (
            max(0, math.ceil(min(y0, y1, y2) - 0.5)),
            min(height - 1, math.floor(max(y0, y1, y2) - 0.5)),
        )
        scale = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) * scale
                w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) * scale
                w0 = 1.0 - w1 - w2
                if w0 < -1e-5 or w1 < -1e-5 or w2 < -1e-5:
                    continue
                z = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    number[y, x] = t
                    weights[y, x, 0] = w1
                    weights[y, x, 1] = w2
    return depth, number, weights


@njit(cache=True, fastmath=True)
def shadow_depth(screen, triangles, size):
    """Depth (size, size) of the nearest surface as the light sees it."""
    depth = np.full((size, size), FAR, np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = (
            screen[a, 0],
            screen[a, 1],
            screen[b, 0],
            screen[b, 1],
            screen[c, 0],
            screen[c, 1],
        )
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9 or area > 0:
            continue
        left, right = (
            max(0, math.ceil(min(x0, x1, x2) - 0.5)),
            min(size - 1, math.floor(max(x0, x1, x2) - 0.5)),
        )
        top, bottom = (
            max(0, math.ceil(min(y0, y1, y2) - 0.5)),
            min(size - 1, math.floor(max(y0, y1, y2) - 0.5)),
        )
        scale = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w1 = ((x + 0.5 - x0) * (y2 - y0) - (x2 - x0) * (y + 0.5 - y0)) * scale
                w2 = ((x1 - x0) * (y + 0.5 - y0) - (x + 0.5 - x0) * (y1 - y0)) * scale
                w0 = 1.0 - w1 - w2
                if w0 >= -1e-5 and w1 >= -1e-5 and w2 >= -1e-5:
                    z = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                    depth[y, x] = min(depth[y, x], z)
    return depth


@njit(cache=True, fastmath=True)
def bilinear(texture, x, y):
    """A grey texture (H, W) at texel coordinates, clamped at its edges."""
    x = min(max(x, 0.0), texture.shape[1] - 1.001)
    y = min(max(y, 0.0), texture.shape[0] - 1.001)
    i, j = int(x), int(y)
    a, b = x - i, y - j
    top = texture[j, i] * (1 - a) + texture[j, i + 1] * a
    return top * (1 - b) + (texture[j + 1, i] * (1 - a) + texture[j + 1, i + 1] * a) * b
