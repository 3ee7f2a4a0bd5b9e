"""What longer pre-training is worth downstream: `python benchmarks/pretraining_length.py`.

For each number of epochs of masked autoencoding, from none, it trains on the faces of `experiments/synthetic` a teacher
(whole faces) and `dropped` (visible patches), each for one epoch from the autoencoder, and prints their macro-AUROC on
validation people. What is there already in OUT is kept. Cost: about 45 minutes on one CPU core.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd

STAGES = {"teacher": "whole face", "dropped": "half of the patches hidden"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, default=Path("runs/synthetic/store"))
    parser.add_argument("--out", type=Path, default=Path("runs/pretraining_length"))
    parser.add_argument("--epochs", type=int, nargs="+", default=[0, 2, 6, 12])
    options = parser.parse_args()
    if not (options.store / "store.json").is_file():
        print(f"{options.store} is no store: run `fau-mae run synthetic` first, or give --store")
        return
    rows = []
    for epochs in options.epochs:
        folder, start = options.out / f"{epochs:02d}", "null"
        row: dict[str, float] = {"epochs": epochs}
        if epochs:
            row["reconstruction loss"] = _train(folder, "pretrain", epochs, "val/loss", options.store)
            start = str(folder / "pretrain" / "checkpoints" / "last.ckpt")
        for stage, shown in STAGES.items():
            row[f"AUROC, {shown}"] = _train(
                folder,
                stage,
                1,
                "val/auroc",
                options.store,
                "--model.init_args.init_from",
                start,
                "--model.init_args.optim.lr",
                "2e-3",
            )
        rows.append(row)
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format), flush=True)


def _train(folder: Path, stage: str, epochs: int, metric: str, store: Path, *more: str) -> float:
    """Last validation value of a stage, which is trained unless it has been."""
    out = folder / stage
    if not (out / "finished").exists():
        line = ["fit", "--config", f"synthetic/{stage}", "--out", out, "--data.store", store, *more]
        line += ["--trainer.max_epochs", epochs]
        subprocess.run([sys.executable, "-m", "fau_mae.cli", *map(str, line)], check=True)
    return float(pd.read_csv(out / "metrics.csv")[metric].dropna().iloc[-1])


if __name__ == "__main__":
    main()
