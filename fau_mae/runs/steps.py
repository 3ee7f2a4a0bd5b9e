"""One step of a run in this process: a stage trained, an occlusion ladder walked."""

import shlex
import sys
from pathlib import Path

from data_modules.errors import Stopped, UserError
from data_modules.files import remove_folder
from data_modules.locks import locked
from fau_mae.run_folder import fold_folder, last_checkpoint, targets_folder, trained_with
from fau_mae.runs.experiment import Experiment
from fau_mae.runs.made_by import keep_what_fits
from fau_mae.runs.plan import StagePlan
from fau_mae.runs.processes import run_to_its_end


def train(stage: StagePlan) -> None:
    """Train a stage, or go on with it, unless it is done. Raises `UserError` where that trains nothing."""
    if not stage.is_done:
        print(f"{stage.folder.parent.name}: {stage.name}\n  fau-mae {shlex.join(stage.line)}", flush=True)
        launch(stage)
        if not stage.is_done:
            raise UserError(
                f"{stage.folder} was not trained in earnest: see what --set says of it (fast_dev_run, limits of 0)"
            )


def launch(stage: StagePlan) -> None:
    """Train in this process, or in one of its own where Lightning starts more, which repeat their command line."""
    if stage.needs_processes:
        code = run_to_its_end([sys.executable, "-m", "fau_mae.cli", *stage.line])
        if code > 128:
            raise Stopped(code - 128)
        if code:
            raise UserError(f"the stage ended with exit code {code}; its own message is above")
    else:
        from fau_mae.runs.lightning_cli import run_lightning

        run_lightning(stage.line)


def walk(experiment: Experiment, out: Path, fold: int, seed: int) -> None:
    """Predictions of every method on every rung of the ladder, on the faces the first method's stage was set up for.

    All stages of that fold and seed are trained; what their students kept for each other goes.
    """
    remove_folder(targets_folder(out, fold, seed))
    folder = fold_folder(out, fold, seed)
    with locked(folder / "predictions"):
        _walk(experiment, folder)


def _walk(experiment: Experiment, folder: Path) -> None:
    import torch

    from data_modules.face_data import FaceDataModule
    from data_modules.occlusion.config import OcclusionConfig
    from fau_mae.evaluation import methods as makers
    from fau_mae.evaluation.ladder import rungs, walk_ladder

    trained = trained_with(folder / experiment.first_stage())
    data = FaceDataModule.from_settings(trained, occlusion=OcclusionConfig(fill=experiment.ladder["fill"]))
    keep_what_fits(folder, experiment, data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    methods = []
    for name, method in experiment.compared().items():
        for severity, stage in method.get("at", {}).items():
            one = makers.au_method(name, last_checkpoint(folder / stage), data.aus, device)
            methods.append(one._replace(severity=severity))
        if "reads_with" in method:
            reader = last_checkpoint(folder / method["reads_with"])
            if mae := method.get("fills_with"):
                filler = last_checkpoint(folder / mae)
                methods.append(makers.reconstruct_method(name, reader, filler, data.aus, device))
            else:
                methods.append(makers.au_method(name, reader, data.aus, device))
    specs = rungs(experiment.ladder["kinds"], experiment.ladder["severities"])
    print(f"{folder.name}: occlusion ladder, {len(methods)} methods × {len(specs)} occlusions", flush=True)
    detector = experiment.ladder.get("detector")
    estimate = makers.fitting_detector(last_checkpoint(folder / detector), data) if detector else None
    if estimate:
        methods = makers.with_blind(methods, leave_out=experiment.ablations)
    walk_ladder(methods, data, specs, folder, estimate)
