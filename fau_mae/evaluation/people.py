"""Whom a checkpoint is tested on: people it has neither trained nor chosen anything on, wherever file and store lie."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.files import read_yaml
from data_modules.folds import Split
from data_modules.occlusion.config import OcclusionConfig
from data_modules.stores.store import FaceStore
from fau_mae.weights.description import Description

FOLDS = ("fold", "num_folds", "val_share", "seed")


def data_for(
    about: Description,
    checkpoint: Path,
    store: Path,
    *,
    fill: str = "grey",
    fold: int | None = None,
    num_folds: int | None = None,
    unknown_people: bool = False,
    aus: Sequence[int] = (),
) -> FaceDataModule:
    """Faces of `store` as the checkpoint reads them, divided so that its test people are new to it.

    On its own data set, known by fingerprint or population, these are the people that its training kept for the test,
    and thresholds come from those that it validated on; where `fold` is asked for, that fold's. Another data set is
    divided by its own folds. Nobody is tested whom it has met in any way: read with labels or without, or by weights
    that it started or learnt from. `aus`: of the store's, those that are asked for; () = all. Raises `UserError` where
    a checkpoint does not say whom it has met, unless `unknown_people`, and where nobody is left.
    """
    asked = {key: value for key, value in (("fold", fold), ("num_folds", num_folds)) if value is not None}
    divided = _as_trained(about, checkpoint, store, unknown_people)
    data = FaceDataModule(
        store,
        **{**divided, **asked},
        image_size=about.faces.image_size,
        grid=about.faces.grid,
        occlusion=OcclusionConfig(fill=fill),
        aus=aus,
    )
    if about.data and data.preset != about.faces.preset:
        raise UserError(
            f"{store} is cropped by {data.preset}, {checkpoint} reads {about.faces.preset}: prepare a store with "
            f"--preset {about.faces.preset}"
        )
    if about.is_of(data.store.info) or about.knows(data.store.info):
        data.split = _unseen(data, about, bool(asked), checkpoint)
    return data


def _as_trained(about: Description, checkpoint: Path, store: Path, unknown_people: bool) -> dict[str, Any]:
    """Settings of the folds; nothing for another data set."""
    if about.data:
        same = about.data["fingerprint"] == FaceStore(store).fingerprint
        return {key: about.data[key] for key in FOLDS} if same else {}
    # All that older versions kept of their people.
    beside = checkpoint.resolve().parent.parent / "config.yaml"
    trained = read_yaml(beside) if beside.is_file() else {}
    settings = trained.get("data", {})
    if "store" in settings and Path(settings["store"]).resolve() == store.resolve():
        return {key: settings[key] for key in FOLDS}
    if unknown_people:
        return {}
    raise UserError(
        f"{checkpoint} does not say which people it was trained on, as older versions did not: evaluate it in its run "
        "folder on its own store, or add --unknown-people if none of them are in this one"
    )


def _unseen(data: FaceDataModule, about: Description, asked: bool, checkpoint: Path) -> Split:
    """The rows to take thresholds from and to test on."""
    subjects = data.store.column("subject").astype(str)
    seen, kept = about.knows(data.store.info), about.data if about.is_of(data.store.info) else {}
    there = set(subjects)
    own = {split: set(kept.get(split, ())) & there for split in ("validation", "test")}
    fold = {split: set(subjects[getattr(data.split, split)]) for split in ("validation", "test")}
    validation, test = own["validation"], own["test"] - seen
    if asked or not test:
        test = fold["test"] - seen
        validation = (own["validation"] or fold["validation"] - seen) - test
        if left_out := len(fold["test"] & seen):
            print(f"{left_out} of fold {data.fold}'s test people have trained {checkpoint}: left out")
    for what, people in (("to test on", test), ("to choose thresholds on", validation)):
        if not people:
            raise UserError(
                f"{data.store.path} has nobody {what} whom {checkpoint} has not met: name another --fold or store"
            )
    return Split(*(_rows(subjects, people) for people in (seen - validation, validation, test)))


def _rows(subjects: np.ndarray, people: Iterable[str]) -> np.ndarray:
    return np.flatnonzero(np.isin(subjects, sorted(people)))
