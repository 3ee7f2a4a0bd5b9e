"""Which AUs to believe: hidden ones are not decided, and of others observability is the chance to be right."""

from pathlib import Path

import numpy as np
import pytest
from fixtures_decisions import A, made_up, made_up_decisions
from fixtures_models import FACES
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from data_modules.errors import UserError
from data_modules.facs import SYNTHETIC_AUS
from fau_mae import metrics
from fau_mae.evaluation import observability
from fau_mae.evaluation.observability import (
    SHARES,
    Decisions,
    calibration,
    fit_decisions,
    risk_coverage,
)
from fau_mae.evaluation.regions import region_hidden_share
from fau_mae.inference.predictor import Predictor, load
from fau_mae.weights.checkpoints import LoadedAUModel, load_au_model, read_own


@pytest.fixture(scope="module")
def decisions() -> Decisions:
    return made_up_decisions()


def test_on_other_people_it_holds(decisions: Decisions) -> None:
    """Within .02 at every level; and it says more than that all decisions are alike."""
    table = calibration(decisions, made_up(4000, 2), FACES.regions)
    assert (table["right"] - table["observability"]).abs().max() < 0.02
    assert (table["right"] >= table["from"]).all()
    assert (np.diff(table["called"]) < 0).all() and 0.2 < table["called"].iloc[-2] < 0.9
    risks = risk_coverage(decisions, made_up(4000, 2), FACES.regions)
    assert (risks["0.5"] < 0.6 * risks["1"]).all() and (risks["0.5"] <= risks["0.8"]).all()


def test_what_is_half_hidden_is_not_observable(decisions: Decisions) -> None:
    cases = made_up(500, 3)
    said = decisions.observable(cases.probabilities, cases.visible, FACES.regions)
    hidden = region_hidden_share(cases.visible, FACES.regions).round(6) >= 0.5
    assert hidden.any() and (said[hidden] == 0).all() and (said[~hidden] > 0.3).all()


def test_no_one_threshold_does_better_on_other_people(decisions: Decisions) -> None:
    cases = made_up(4000, 5)
    nearest = np.abs((~cases.visible).mean(1)[:, None] - np.array(SHARES)).argmin(1)
    for step in range(len(SHARES)):
        chosen = nearest == step
        p, y = cases.probabilities[chosen], cases.labels[chosen]

        def f1(thresholds: np.ndarray, p: np.ndarray = p, y: np.ndarray = y) -> np.ndarray:
            return metrics.f1_score(metrics.outcomes(p, y, thresholds).total())

        best = f1(np.array(decisions.thresholds[step])).mean()
        assert all(best > f1(np.full(A, t)).mean() for t in np.linspace(0.05, 0.95, 19))


def test_the_regression_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(0)
    terms = np.concatenate([np.ones((400, 1)), draws.normal(size=(400, 4))], 1)
    right = draws.random(400) < expit(terms @ np.array([1.0, 0.5, -1, 0.2, 0]))
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(terms[:, 1:], right)
    wanted = np.concatenate([model.intercept_, model.coef_[0]])
    np.testing.assert_allclose(observability._regression(terms, right), wanted, atol=2e-3)
    surely = observability._regression(terms, np.ones(400, bool))
    assert np.isfinite(surely).all() and expit(terms @ surely).min() > 0.95


def test_an_au_that_nobody_shows_keeps_a_threshold() -> None:
    cases = made_up(300, 4)
    labels = cases.labels.copy()
    labels[:, 3] = 0
    few = fit_decisions(cases._replace(labels=labels), FACES.regions)
    assert np.isfinite(np.array(few.thresholds)).all() and np.isfinite(np.array(few.weights)).all()


def test_a_predictor_says_so(teacher: Path, decisions: Decisions) -> None:
    loaded = load_au_model(teacher)
    about = loaded.about
    own = about.faces.regions
    plain = Predictor(loaded)
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), np.uint8)
    visible = np.ones((5, plain.grid, plain.grid), bool)
    visible[1:, : plain.grid // 2] = False
    lost = region_hidden_share(visible.reshape(5, -1), own).round(6) >= 0.5
    assert lost[1:].any() and not lost[1:].all()
    read = plain.read(faces, visible, batch_size=2)
    assert (np.isnan(read.present) == lost).all() and (read.observable[lost] == 0).all()
    assert np.isnan(read.observable[~lost]).all()
    nobody_looked = plain.read(faces)
    assert nobody_looked.visible is None and not np.isnan(nobody_looked.present).any()
    held = Predictor(LoadedAUModel(loaded.model, _with(about, decisions.to_dict())))
    told = held.read(faces, visible)
    assert (np.isnan(told.present) == lost).all() and (told.observable[~lost] > 0).all()
    np.testing.assert_allclose(told.probabilities, read.probabilities, atol=1e-5)
    assert len(told[1:3]) == 2 and (told[1:3].observable == told.observable[1:3]).all()


def _with(about, decisions: dict):
    from dataclasses import replace

    return replace(about, decisions=decisions)


@pytest.mark.parametrize(
    "damage", [{"thresholds": [[0.5]], "weights": [[0.0] * 5]}, {"weights": []}, {"a": 1}]
)
def test_damaged_decisions_are_one_line(teacher: Path, damage: dict) -> None:
    loaded = load_au_model(teacher)
    with pytest.raises(UserError, match="save them again"):
        Predictor(LoadedAUModel(loaded.model, _with(loaded.about, damage)))


def test_a_device_that_there_is_not_is_one_line(teacher: Path) -> None:
    with pytest.raises(UserError, match="try cpu"):
        load(teacher, device="cuda:99")
    with pytest.raises(UserError, match="try cpu"):
        load(teacher, device="abacus")


def test_the_weights_in_the_box_know_their_decisions() -> None:
    about, _ = read_own(Path("shipped:student"))
    assert about.aus == SYNTHETIC_AUS and Decisions.from_dict(about.decisions, len(about.aus))
    model = load(detector="shipped:detector")
    assert model.detector is not None and model.decisions is not None
