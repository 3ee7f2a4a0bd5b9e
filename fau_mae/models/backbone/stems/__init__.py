"""Stems: a visible patch's pixels -> its token, whatever its neighbours are.

Hidden patches never get here, so cost falls with them. A stem takes `(patch, dim, options)`: the pixels of a patch's
side, the width of a token, and its own options; its `forward` takes normalised pixels (B, V, P) to tokens (B, V, D).
"""

from fau_mae.models.backbone.stems.gradient import GradientOptions, GradientStem
from fau_mae.models.backbone.stems.linear import LinearOptions, LinearStem
from fau_mae.models.registry import Entry, Registry

STEMS = Registry(
    "stem",
    linear=Entry(LinearStem, LinearOptions),
    gradient=Entry(GradientStem, GradientOptions),
)
