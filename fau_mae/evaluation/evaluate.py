"""Evaluate one checkpoint: the occlusion ladder over a store's test people, scored."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from data_modules.errors import shown
from data_modules.facs import au_name
from data_modules.files import check_file, write_parquet
from data_modules.occlusion.rungs import check_fill, check_kinds, check_severities
from data_modules.stores.store import FaceStore
from fau_mae.evaluation.ladder import rungs, walk_ladder
from fau_mae.evaluation.made_by import claim, faces_of, weights_id
from fau_mae.evaluation.methods import au_method, fitting_detector, with_blind
from fau_mae.evaluation.people import data_for
from fau_mae.evaluation.scoring import ThresholdRule, score_predictions
from fau_mae.weights.by_au import rows_of
from fau_mae.weights.checkpoints import load_au_model
from fau_mae.weights.shipped import file_of


def evaluate(
    checkpoint: Path | str,
    store: Path | str,
    out: Path | str,
    *,
    kinds: Sequence[str] = ("patches", "block"),
    severities: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
    fold: int | None = None,
    num_folds: int | None = None,
    fill: str = "grey",
    threshold_rule: ThresholdRule = "by_visibility",
    detector: Path | str | None = None,
    unknown_people: bool = False,
) -> pd.DataFrame:
    """Walk the ladder with one checkpoint and score it -> the results table, left in `out` beside the predictions.

    It is tested on people it has not met, see `data_for`, and on the AUs that it and the store share; those of the
    store that it does not know are named on standard error. Raises `UserError` where `out` holds what another
    checkpoint, fill, ladder or store made; what the same ones have made already is kept.
    """
    checkpoint, store, out = Path(checkpoint), Path(store), Path(out)
    _check_ladder(kinds, severities, fill)
    check_file(out / "results.parquet", [checkpoint, store])
    loaded = load_au_model(checkpoint)
    data = data_for(
        loaded.about,
        checkpoint,
        store,
        fill=fill,
        fold=fold,
        num_folds=num_folds,
        unknown_people=unknown_people,
        aus=_shared(loaded.aus, checkpoint, store),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = _name_of(file_of(checkpoint))
    method = au_method(name, checkpoint, data.aus, device, loaded)
    estimate = fitting_detector(Path(detector), data) if detector else None
    specs = rungs(kinds, severities)
    made_by = {
        "command": "evaluate",
        "method": name,
        "checkpoint": weights_id(loaded.model),
        "detector": weights_id(estimate) if estimate else None,
        "fill": fill,
        "ladder": [f"{spec.kind}-{spec.severity:.2f}" for spec in specs],
    }
    claim(out, made_by | faces_of(data))
    walk_ladder(with_blind([method]) if estimate else [method], data, specs, out, estimate)
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


def _shared(known: Sequence[int], checkpoint: Path, store: Path) -> list[int]:
    """AUs of the store that the checkpoint knows. Raises `UserError` where there are none."""
    there = FaceStore(store).info.aus
    shared = [au for au in there if au in known]
    if not shared:
        rows_of(there, known, checkpoint)
    if left := [au_name(au) for au in there if au not in known]:
        print(
            f"{shown(store)}: {', '.join(left)} left out, which {shown(checkpoint)} does not know",
            file=sys.stderr,
        )
    return shared


def _name_of(file: Path) -> str:
    """Of the stage, or as the file."""
    folder = file.resolve().parent
    return folder.parent.name if folder.name == "checkpoints" else file.stem


def _check_ladder(kinds: Sequence[str], severities: Sequence[float], fill: str) -> None:
    """Before any work: the ladder can be walked."""
    check_kinds(kinds, "")
    if hiding := [severity for severity in severities if severity != 0]:  # clean faces are tested anyway
        check_severities(hiding, "")
    check_fill(fill, "")
