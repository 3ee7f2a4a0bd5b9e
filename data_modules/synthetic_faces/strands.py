"""Compiled drawing of hair shells: a pixel is hair where the strand that grows there is high enough."""

import numpy as np
from numba import njit

from data_modules.synthetic_faces.kernels import inverse, row_span, triangle_setup
from data_modules.synthetic_faces.traits import NEEDED, STRAND_U, STRAND_V


@njit(cache=True, fastmath=True, error_model="numpy", forceinline=True)
def strand_height(texture, u, v):
    """A square grey texture, repeated, between its pixels. Its side is a power of two, and u, v at least minus
    that side."""
    side = texture.shape[0]
    u, v = u + np.float32(side), v + np.float32(side)  # positive, so that truncation rounds down
    i, j = np.uint32(u), np.uint32(v)
    a, b = u - np.float32(i), v - np.float32(j)
    mask = np.uint32(side - 1)
    left, right, top, bottom = i & mask, (i + np.uint32(1)) & mask, j & mask, (j + np.uint32(1)) & mask
    high = texture[top, left] + a * (texture[top, right] - texture[top, left])
    low = texture[bottom, left] + a * (texture[bottom, right] - texture[bottom, left])
    return high + b * (low - high)


@njit(cache=True, fastmath=True, error_model="numpy")
def rasterize_strands(screen, triangles, solid, first, traits, texture, depth, number):
    """Draw hair into a z-buffer (`kernels.rasterize`), in place, where the strand is as high as the shell.

    `solid` (T,) bool: True where the back of a triangle is not drawn. `traits` (V, TRAITS). Triangle t is
    written as number `first` + t.
    """
    rows, columns = depth.shape
    one, zero = np.float32(1), np.float32(0)
    for t in range(triangles.shape[0]):
        a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
        top, bottom, left, right, x0, y0, along1, down1, along2, down2 = triangle_setup(
            screen, a, b, c, rows, columns, not solid[t]
        )
        if top > bottom:
            continue
        inverse0, inverse1, inverse2 = inverse(-along1 - along2), inverse(along1), inverse(along2)
        z0, n0, u0, v0 = screen[a, 2], traits[a, NEEDED], traits[a, STRAND_U], traits[a, STRAND_V]
        z1, z2 = screen[b, 2] - z0, screen[c, 2] - z0
        n1, n2 = traits[b, NEEDED] - n0, traits[c, NEEDED] - n0
        u1, u2 = traits[b, STRAND_U] - u0, traits[c, STRAND_U] - u0
        v1, v2 = traits[b, STRAND_V] - v0, traits[c, STRAND_V] - v0
        for y in range(top, bottom + 1):
            dy = np.float32(y) - y0
            r1, r2 = down1 * dy, down2 * dy
            first_column, last = row_span(left, right, x0, r1, r2, inverse0, inverse1, inverse2)
            row = np.uint32(y)
            for x in range(first_column, last + 1):
                column, dx = np.uint32(x), np.float32(x) - x0
                w1, w2 = r1 + along1 * dx, r2 + along2 * dx
                z = z0 + w1 * z1 + w2 * z2
                if z >= depth[row, column]:
                    continue
                needed = n0 + w1 * n1 + w2 * n2
                if needed >= one:
                    continue
                if needed < zero or needed < strand_height(
                    texture, u0 + w1 * u1 + w2 * u2, v0 + w1 * v1 + w2 * v2
                ):
                    depth[row, column] = z
                    number[row, column] = first + t
