"""How the student of a run decides when it reads with the run's detector, and how that holds on unseen people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from data_modules.face_data import FaceDataModule
from data_modules.facs import au_name
from data_modules.files import read_yaml
from fau_mae.evaluation.observability import (
    CASES,
    Decisions,
    calibration,
    fit_decisions,
    read_cases,
    risk_coverage,
)
from fau_mae.inference.predictor import Predictor
from fau_mae.reports.markdown import table
from fau_mae.weights.checkpoints import load_au_model, load_detector


@dataclass(frozen=True)
class Held:
    """Decisions of the weights called `name`, fitted on validation people, and what came of them on test people."""

    name: str
    decisions: Decisions
    aus: tuple[int, ...]
    calibration: pd.DataFrame
    risks: pd.DataFrame

    def said(self) -> str:
        """For a model card, Markdown."""
        kinds = ", ".join(sorted({spec.kind for spec in CASES} - {"none"}))
        rows = [
            [f"{row['from']:g}", f"{row['called']:.3f}", f"{row['observability']:.3f}", f"{row['right']:.3f}"]
            for _, row in self.calibration.iterrows()
        ]
        risks = [
            [
                au_name(self.aus[int(row["au"])]),
                *(f"{row[name]:.3f}" for name in ("observable", "0.5", "0.8", "1")),
            ]
            for _, row in self.risks.iterrows()
        ]
        return "\n\n".join(
            [
                f"`{self.name}` with the detector's mask, on test people, clean and under {kinds}. An AU of which half "
                "of the region is hidden is not observable and not decided; of the others observability is the chance "
                "that the decision is right, fitted on validation people.",
                table(["observable from", "share of all decisions", "mean observability", "right"], rows),
                "Share of wrong decisions among the surest half, the surest four fifths and all of those that are "
                "observable:",
                table(["", "observable", "surest half", "surest 4/5", "all"], risks),
            ]
        )


def how_it_decides(
    run: Path, trained: Mapping[str, Path], watched: Callable[[str], Callable[..., Any]]
) -> Held | None:
    """`trained`: as `trained_weights` found them. None for a run without a student or a detector."""
    if not {"student", "detector"} <= {*trained}:
        return None
    settings = read_yaml(trained["student"].parent.parent / "config.yaml")["data"]
    store = Path(settings["store"])
    store = store if store.exists() else run / "store"
    data = FaceDataModule.from_settings(settings, store=store, unlabelled=(), num_workers=0)
    detector = load_detector(trained["detector"])
    model = Predictor(load_au_model(trained["student"]), detector=detector)
    seen = {
        split: read_cases(model.probabilities, data, split, watched(f"Decisions, {split}"))
        for split in ("validation", "test")
    }
    decisions = fit_decisions(seen["validation"], model.regions)
    held = (function(decisions, seen["test"], model.regions) for function in (calibration, risk_coverage))
    return Held("student", decisions, model.aus, *held)
