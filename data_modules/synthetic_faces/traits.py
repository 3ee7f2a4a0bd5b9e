"""Columns of the vertex traits (V, TRAITS) float32: what a vertex carries from frame to frame."""

(
    CANONICAL_X,
    CANONICAL_Y,
    CANONICAL_Z,
    TEXEL_U,  # place on the skin atlas
    TEXEL_V,
    OPENNESS,  # share of the open sky
    FRONTNESS,  # 1 where the skin atlas is sharp
    COVER,  # share of the scalp's strands that grow here
    HEIGHT,  # of a shell: 0 at the scalp, 1 at the outer shell
    STRAND_U,  # place on the strand texture
    STRAND_V,
    NEEDED,  # how high a strand must be to reach here; below 0 all do, from 1 on none does
) = range(12)
TRAITS = 12
