"""What pre-training should predict, by which decoder, in the same minutes: `python benchmarks/pretraining_targets.py`.

A setting is DECODER/TARGET/HIDDEN[/SHARE], such as `cross/both/0.75/0.25`. Steps of all settings are timed in turns, in
CPU seconds of one thread with the loader's; each setting then pre-trains on the faces of `experiments/quickstart` for
as many steps as MINUTES hold, and from there a teacher (whole faces) and `dropped` (visible patches) train for two
epochs. It prints their macro-AUROC on validation people. What is there already in OUT is kept. Cost: MINUTES and three
for each setting, on one core.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from data_modules.face_data import FaceDataModule
from data_modules.occlusion.config import OcclusionConfig
from fau_mae.models.backbone.decoders import MAEConfig
from fau_mae.tasks import MAEPretraining

SETTINGS = ["full/pixels/0.75", "full/both/0.75", "cross/pixels/0.75", "cross/both/0.75", "cross/both/0.85"]
STAGES = {"teacher": "whole face", "dropped": "half of the patches hidden"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", default=SETTINGS)
    parser.add_argument("--store", type=Path, default=Path("runs/quickstart/store"))
    parser.add_argument("--out", type=Path, default=Path("runs/pretraining_targets"))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not (options.store / "store.json").is_file():
        print(f"{options.store} is no store: run `fau-mae run quickstart` first, or give --store")
        return
    torch.set_num_threads(1)
    seconds = step_seconds(options.settings, options.store, options.out / "seconds.json")
    rows = []
    for setting in options.settings:
        steps = round(60 * options.minutes / seconds[setting])
        folder = options.out / setting.replace("/", "-") / f"{options.minutes:g}-seed{options.seed}"
        row: dict[str, float | str] = {
            "setting": setting,
            "ms a step": 1000 * seconds[setting],
            "steps": steps,
        }
        rows.append({**row, **_trial(setting, steps, folder, options.store, options.seed)})
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format), flush=True)


def step_seconds(settings: list[str], store: Path, kept: Path) -> dict[str, float]:
    """Median CPU seconds of a step of each setting, loader and optimiser with it; those in `kept` are kept."""
    known = json.loads(kept.read_text()) if kept.exists() else {}
    steps = {setting: _steps(setting, store) for setting in settings if setting not in known}
    times: dict[str, list[float]] = {setting: [] for setting in steps}
    for turn in range(16):
        for setting, step in steps.items():
            start = time.process_time()
            step()
            if turn:  # the first warms up
                times[setting].append(time.process_time() - start)
    known |= {setting: statistics.median(values) for setting, values in times.items()}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(known))
    return known


def _steps(setting: str, store: Path) -> Callable[[], None]:
    """A training's step, one after the other."""
    config, hidden = _net(setting)
    occlusion = OcclusionConfig(
        kinds=("patches",),
        severity_range=(hidden, hidden),
        clean_share=0.0,
        val_kind="patches",
        val_severity=0.75,
    )
    data = FaceDataModule(store, num_folds=8, grid=8, batch_size=32, val_share=0.08, occlusion=occlusion)
    stage, batches = MAEPretraining(MAEConfig("micro", "gradient", **config)), iter(data.train_dataloader())
    stage.build(data.faces)
    optimiser = torch.optim.AdamW(stage.parameters(), fused=True)

    def step() -> None:
        optimiser.zero_grad()
        stage(next(batches), stage.decoder.share)["loss"].backward()
        optimiser.step()

    return step


def _net(setting: str) -> tuple[dict, float]:
    """What a setting says of the net, and the hidden share."""
    decoder, target, hidden, *share = setting.split("/")
    told = {"share": float(share[0])} if share else {}
    return {"decoder": decoder, "target": target, "decoder_options": told}, float(hidden)


def _trial(setting: str, steps: int, folder: Path, store: Path, seed: int) -> dict[str, float]:
    config, hidden = _net(setting)
    epochs = math.ceil(steps / 151)
    words = [f"--model.init_args.net.{name}={value}" for name, value in config.items()]
    words += [f"--data.occlusion.severity_range=[{hidden}, {hidden}]"]
    words += [f"--trainer.max_epochs={epochs}", f"--trainer.limit_train_batches={round(steps / epochs)}"]
    common = [f"--data.store={store}", f"--seed_everything={seed}"]
    row = {"loss": _train("pretrain", folder, "val/loss", *common, *words)}
    start = folder / "pretrain" / "checkpoints" / "last.ckpt"
    words = [f"--model.init_args.init_from={start}", "--model.init_args.optim.lr=2e-3"]
    words += ["--trainer.max_epochs=2", "--trainer.limit_train_batches=1.0"]
    for stage, shown in STAGES.items():
        row[f"AUROC, {shown}"] = _train(stage, folder, "val/auroc", *common, *words)
    return row


def _train(stage: str, folder: Path, metric: str, *words: str) -> float:
    """Last validation value of a stage, which is trained unless it has been."""
    out = folder / stage
    if not (out / "finished").exists():
        line = ["fit", "--config", f"quickstart/{stage}", "--out", str(out), *words]
        line += ["--ckpt_path=last", "--trainer.enable_progress_bar=false"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
        subprocess.run([sys.executable, "-m", "fau_mae.cli", *line], check=True, env=environment)
    return float(pd.read_csv(out / "metrics.csv")[metric].dropna().iloc[-1])


if __name__ == "__main__":
    main()
