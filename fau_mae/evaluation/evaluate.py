"""Evaluate one checkpoint: the occlusion ladder over a store's test people, scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from data_modules.face_data import FaceDataModule
from data_modules.files import read_yaml, write_parquet
from data_modules.occlusion.config import OcclusionConfig
from fau_mae.evaluation.ladder import rungs, walk_ladder
from fau_mae.evaluation.methods import au_method, fitting_detector, with_blind
from fau_mae.evaluation.scoring import ThresholdRule, score_predictions
from fau_mae.weights.checkpoints import load_au_model


def evaluate(
    checkpoint: Path,
    store: Path,
    out: Path,
    *,
    kinds: Sequence[str] = ("patches", "block"),
    severities: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
    fold: int | None = None,
    num_folds: int | None = None,
    fill: str = "grey",
    threshold_rule: ThresholdRule = "by_visibility",
    detector: Path | None = None,
) -> pd.DataFrame:
    """Walk the ladder with one checkpoint and score it -> the results table, left in `out` beside the predictions.

    The people are divided as they were for the checkpoint's training, if that was on this store, so that thresholds
    are not chosen on people it has learnt; `fold` and `num_folds` go before.
    """
    loaded = load_au_model(checkpoint)
    split = _trained_split(checkpoint, store)
    split |= {key: value for key, value in (("fold", fold), ("num_folds", num_folds)) if value is not None}
    data = FaceDataModule(
        store,
        **split,
        image_size=loaded.about.faces.image_size,
        grid=loaded.about.faces.grid,
        occlusion=OcclusionConfig(fill=fill),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = checkpoint.resolve().parent.parent.name or "model"
    method = au_method(name, checkpoint, data.aus, device)
    estimate = fitting_detector(detector, data) if detector else None
    walk_ladder(with_blind([method]) if estimate else [method], data, rungs(kinds, severities), out, estimate)
    results = score_predictions(
        out,
        experiment=name,
        dataset=data.store.info.dataset,
        fold=data.fold,
        seed=data.seed,
        threshold_rule=threshold_rule,
        checkpoints={name: str(checkpoint)},
    )
    write_parquet(out / "results.parquet", results)
    return results


def _trained_split(checkpoint: Path, store: Path) -> dict[str, Any]:
    """How the stage that wrote a checkpoint divided the people of `store`; {} where it was another store's."""
    config = checkpoint.resolve().parent.parent / "config.yaml"
    if not config.is_file():
        return {}
    trained = read_yaml(config)["data"]
    if Path(trained["store"]).resolve() != store.resolve():
        return {}
    return {key: trained[key] for key in ("fold", "num_folds", "val_share", "seed")}
