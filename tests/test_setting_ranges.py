"""Every number among the settings has a range declared beside it, and a value out of it is refused by name."""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import pytest
from fixtures_training import fit, numbers

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.folds import LabelConfig
from data_modules.occlusion.config import OcclusionConfig
from data_modules.ranges import FREE, Range, check_arguments
from data_modules.stores.store import FaceStore
from fau_mae.models.backbone.decoders import DECODERS
from fau_mae.models.backbone.stems import STEMS
from fau_mae.models.detectors import DETECTORS
from fau_mae.models.heads import HEADS
from fau_mae.models.latents import LATENTS
from fau_mae.tasks import MAEPretraining, OcclusionDetector, Student
from fau_mae.tasks.au_task import AUTask
from fau_mae.tasks.optim import OptimConfig

FauMae = Callable[..., int]
ROOMS = (STEMS, LATENTS, HEADS, DETECTORS, DECODERS)
OF_ROOMS = {entry.options: (room, name) for room in ROOMS for name, entry in room.items()}
FUNCTIONS = [c.__init__ for c in (FaceDataModule, MAEPretraining, AUTask, Student, OcclusionDetector)]
OPTIONS = {hint for one in FUNCTIONS for hint in get_type_hints(one).values() if is_dataclass(hint)}


def declared() -> Iterator[tuple[Any, str, Any, Any]]:
    """Every number of the settings: where it is declared, its name, hint and default."""
    for kind in (*OPTIONS, *OF_ROOMS):
        for field in fields(kind):
            default = field.default_factory() if field.default is MISSING else field.default
            yield kind, field.name, get_type_hints(kind, include_extras=True)[field.name], default
    for function in FUNCTIONS:
        for name, hint in get_type_hints(function, include_extras=True).items():
            if name != "return":
                yield function, name, hint, inspect.signature(function).parameters[name].default


NUMBERS = [one for one in declared() if numbers(one[2]) and not isinstance(one[3], dict)]


def test_every_number_has_one_range_and_its_default_lies_in_it() -> None:
    assert len(NUMBERS) > 35
    for where, name, hint, default in NUMBERS:
        said = f"{where.__qualname__}: {name} = {default}"
        assert get_origin(hint) is Annotated and len(hint.__metadata__) == 1, said
        assert isinstance(hint.__metadata__[0], Range), said
        check_arguments(where, "x", {name: default})


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1, -1e-9, "1", None, True])
def test_what_is_no_number_of_a_range_is_refused_by_name(wrong: Any) -> None:
    """Whatever dataclass or argument: what its range does not hold; -1 only where it is not declared free."""
    for where, name, hint, default in NUMBERS:
        values = [wrong, wrong] if isinstance(default, tuple) else wrong
        negative = isinstance(wrong, int | float) and not isinstance(wrong, bool) and math.isfinite(wrong)
        if hint.__metadata__[0] == FREE and negative:
            continue
        with pytest.raises(UserError, match=rf"{name}.* is .*: (use|it is)"):
            if where in OF_ROOMS:
                room, entry = OF_ROOMS[where]
                room.options(entry, {name: values})
            elif is_dataclass(where):
                where(**{name: values})
            else:
                check_arguments(where, "model", {name: values})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OcclusionConfig(severity_range=(0.9, 0.1)), "severity_range"),
        (lambda: OcclusionConfig(fill="purple"), "mixed"),
        (lambda: OcclusionConfig(kinds=["beard"]), "beard"),
        (lambda: LabelConfig(share=1.0), "1 left out"),
        (lambda: OptimConfig(layer_decay=1.5), "optim.layer_decay"),
        (lambda: OptimConfig(lr=-0.1), "optim.lr"),
    ],
)
def test_python_is_told_the_same(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()


DATA = ["batch_size=0", "num_workers=-2", "val_share=1", "num_folds=1", "seed=-1", "grid=-4", "fold=0"]
DATA += ["num_folds=99", "image_size=50", "labels.subjects=77", "occlusion.curriculum_epochs=-1"]
DATA += ["occlusion.severity_range=[0.9,0.1]", "occlusion.clean_share=5", "occlusion.val_severity=.inf"]
MODEL = ["optim.beta2=1", "optim.warmup_share=1.5", "optim.weight_decay=-0.1", "optim.reference_batch=-8"]
MODEL += ["loss.focal_gamma=-1", "intensity_weight=-1", "net.drop_path=1", "net.head_options.dropout=1.5"]
MODEL += [
    "net.head_options.node_width=0",
    "net.layers=[]",
    "net.head=tree",
    "net.intensity=much",
    "net.stem=root",
]


@pytest.mark.parametrize(
    "setting", [f"data.{text}" for text in DATA] + [f"model.init_args.{text}" for text in MODEL]
)
def test_a_stage_is_not_begun(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys, no_wandb, setting: str
) -> None:
    out = tmp_path / "teacher"
    assert fit(fau_mae, "teacher", tiny_store, out, f"--{setting}") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    name = setting.partition("=")[0].removeprefix("model.init_args.").rpartition(".")[2]
    assert line.startswith("fau-mae: ") and name in line
    assert not (out / "config.yaml").exists() and not (out / "checkpoints").exists()
