"""Whom an experiment's weights and further stores know, looked at before any work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.stores.joined import check_crop
from data_modules.stores.store import FaceStore, StoreInfo
from data_modules.synthetic import to_render
from fau_mae.runs.experiment import Experiment
from fau_mae.runs.overrides import effective
from fau_mae.runs.schema import WIRES
from fau_mae.weights.checkpoints import ENCODER_ONLY, read_own
from fau_mae.weights.shipped import is_shipped


def check_people(experiment: Experiment, store: Path) -> None:
    """Refuse shipped weights that have met people of the experiment's store, and unlabelled stores that do not fit.

    A store of rendered faces need not be there yet. Raises `UserError`.
    """
    stages = {name: effective(stage) for name, stage in experiment.trained().items()}
    preset = experiment.prepare.get("preset", "canonical")
    mae = {str(experiment.mae)} if experiment.mae is not None and is_shipped(experiment.mae) else set()
    if (known := _people(experiment, store)) is not None:
        info, people = known
        preset = info.preset
        for source in sorted({source for settings in stages.values() for source in _weights(settings)} | mae):
            about, _ = read_own(Path(source))
            if met := about.knows(info) & people:
                raise UserError(
                    f"{source} has met {len(met)} people of this experiment ({info.population}), such as {min(met)}: "
                    "take other people (prepare.seed), or train from weights of your own"
                )
    asked = {str(path) for s in stages.values() for path in s.get("data", {}).get("unlabelled") or ()}
    read = {str(path) for settings in stages.values() for path in _read_unlabelled(settings)}
    if unread := sorted(asked - read):
        raise UserError(
            f"data.unlabelled names {unread[0]}, which no stage reads: set data.labels.with_unlabelled=true where it "
            "is to be read"
        )
    for path in sorted(read):
        check_crop(FaceStore(path), preset)


def _people(experiment: Experiment, store: Path) -> tuple[StoreInfo, set[str]] | None:
    """The experiment's store and its people; None while nobody can know them."""
    if (store / "store.json").is_file():
        there = FaceStore(store)
        return there.info, set(there.column("subject").tolist())
    options = {key: value for key, value in experiment.prepare.items() if key != "source"}
    try:
        return to_render(**options) if experiment.prepare["source"] == "synthetic" else None
    except TypeError as error:
        raise UserError(f"prepare: {error}") from error


def _weights(settings: dict[str, Any]) -> Iterator[str]:
    """Shipped weights that a stage starts or learns from."""
    given = settings.get("model", {}).get("init_args", {})
    sources = (str(given[key]).removeprefix(ENCODER_ONLY) for key in WIRES if given.get(key))
    return (source for source in sources if is_shipped(source))


def _read_unlabelled(settings: dict[str, Any]) -> list[str]:
    data = settings.get("data", {})
    return data.get("unlabelled") or [] if data.get("labels", {}).get("with_unlabelled") else []
