"""Do aimed occlusions hurt `clean` more than random ones of equal area? `python benchmarks/occlusion_targeted.py`.

Runs the teacher of a finished `fau-mae run quickstart` over random cells, random blocks, the AUs' regions and
the teacher's own gradient saliency, on the test people of its fold, and prints and draws how much lower its
AUROC is under the aimed kinds, with 95 % intervals over people, paired on the same faces. Cost: about three
minutes on 2 CPU cores. What is there already in OUT is kept.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from data_modules.face_data import FaceDataModule
from data_modules.files import read_yaml, write_parquet
from data_modules.occlusion.config import OcclusionConfig
from fau_mae.evaluation.curves import Curves, MethodKey, interval
from fau_mae.evaluation.ladder import rungs, walk_ladder
from fau_mae.evaluation.methods import au_method
from fau_mae.evaluation.scored_run import read_run
from fau_mae.evaluation.scoring import score_predictions

CLEAN = MethodKey("clean", "none")
RANDOM, AIMED = ("patches", "block"), ("au_targeted", "saliency")
SEVERITIES = (0.1, 0.25, 0.5, 0.75)
METRICS = ("auroc", "f1")
COLOURS = {"patches": "#6b7280", "block": "#2f3b52", "au_targeted": "#b4540a", "saliency": "#b5306f"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="(default: %(default)s)")
    parser.add_argument("--fold", default="fold1-seed0", help="folder in it (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/targeted"), help="(default: %(default)s)")
    parser.add_argument("--figure", type=Path, default=Path("docs/images/occlusion-targeted.png"))
    options = parser.parse_args()
    stage = options.run / options.fold / "teacher"
    checkpoint = stage / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        print(f"{checkpoint} is missing: run `make demo` first, or give --run")
        return
    _evaluate(stage, checkpoint, options.run / "store", options.out)
    _check_areas(options.out / "predictions" / "test" / "clean-none")
    curves = read_run(options.out).curves()
    _print(curves)
    _draw(curves, options.figure)
    print(options.figure)


def _evaluate(stage: Path, checkpoint: Path, store: Path, out: Path) -> None:
    """Sweep the teacher as `clean` on the faces and validation people that it was set up with."""
    trained = read_yaml(stage / "config.yaml")["data"]
    trained["store"] = store if store.is_dir() else trained["store"]
    data = FaceDataModule.from_settings(trained, occlusion=OcclusionConfig())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clean = au_method("clean", checkpoint, data.aus, device)
    walk_ladder([clean], data, rungs((*RANDOM, *AIMED), SEVERITIES), out)
    results = score_predictions(
        out,
        experiment="targeted",
        dataset=data.store.info.dataset,
        fold=trained["fold"],
        seed=trained["seed"],
        checkpoints={"clean": str(checkpoint)},
    )
    write_parquet(out / "results.parquet", results)


def _check_areas(folder: Path) -> None:
    """Every face must have the same share hidden by random cells and by the aimed kinds, to the token."""
    for severity in SEVERITIES:
        shares = {
            kind: pd.read_parquet(folder / f"{kind}-{severity:.2f}.parquet").set_index("sample_id")["hidden"]
            for kind in (*RANDOM, *AIMED)
        }
        for kind in AIMED:
            pd.testing.assert_series_equal(shares[kind], shares["patches"])
        print(
            f"severity {severity}: hidden {shares['patches'].mean():.4f}, block {shares['block'].mean():.4f}"
        )


def _print(curves: Curves) -> None:
    for metric in METRICS:
        print(f"\n{metric}, `clean`; aimed minus random kind, 95 % interval over people")
        print(f"{'hidden':<8}" + "".join(f"{kind:>13}" for kind in (*RANDOM, *AIMED)))
        for severity in SEVERITIES:
            at = {kind: curves.at(CLEAN, kind, severity, metric) for kind in (*RANDOM, *AIMED)}
            print(f"{severity:<8}" + "".join(f"{values[0]:>13.3f}" for values in at.values()))
            for aimed in AIMED:
                for random in RANDOM:
                    gap = interval(at[aimed] - at[random])
                    sure = "" if gap.excludes_zero else "  not told apart"
                    print(
                        f"        {aimed} - {random}: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]{sure}"
                    )


def _draw(curves: Curves, path: Path) -> None:
    """AUROC and F1 against the hidden share: a line per kind with its interval over people."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.6, 3.4), layout="constrained")
        for axes, metric in zip(figure.subplots(1, 2), METRICS):
            for kind in (*RANDOM, *AIMED):
                found = [
                    interval(curves.at(CLEAN, kind, severity, metric)) for severity in (0.0, *SEVERITIES)
                ]
                value, low, high = np.array(found).T
                shares = np.array((0.0, *SEVERITIES))
                axes.plot(shares, value, marker="o", markersize=4, color=COLOURS[kind], label=kind)
                axes.fill_between(shares, low, high, color=COLOURS[kind], alpha=0.15, linewidth=0)
            axes.set_xlabel("share of the face hidden")
            axes.set_ylabel({"auroc": "macro-AUROC of `clean`", "f1": "macro-F1 of `clean`"}[metric])
            axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=140)


if __name__ == "__main__":
    main()
