"""Made-up readings of half-hidden faces, and decisions fitted on them."""

import numpy as np
from fixtures_models import FACES
from scipy.special import expit

from fau_mae.evaluation.observability import Cases, Decisions, fit_decisions
from fau_mae.evaluation.regions import region_hidden_share

A, N = len(FACES.regions), FACES.grid**2


def made_up(count: int, seed: int) -> Cases:
    """Faces of which a random part is hidden, and probabilities that tell the less the more of a region is."""
    draws = np.random.default_rng(seed)
    visible = draws.random((count, N)) >= draws.choice([0.0, 0.25, 0.5, 0.75], count)[:, None]
    shown = 1 - region_hidden_share(visible, FACES.regions)  # (C, A)
    labels = (draws.random((count, A)) < np.linspace(0.08, 0.5, A)).astype(np.int8)
    logits = 4 * shown * (labels - 0.5) + draws.normal(0, 1.2, (count, A)) - 1
    labels[draws.random((count, A)) < 0.1] = -1
    return Cases(expit(logits), labels, visible)


def made_up_decisions() -> Decisions:
    return fit_decisions(made_up(4000, 1), FACES.regions)
