"""The `fau-mae` command. Exit 0 on success, 2 for wrong use or bad input with one clear line, 130 on Ctrl-C."""

import argparse
import contextlib
import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from data_modules.errors import Stopped, UserError
from fau_mae.commands.evaluate import add_evaluate, add_foreign
from fau_mae.commands.prepare import add_prepare
from fau_mae.commands.sweep import add_dashboard, add_sweep
from fau_mae.sweeps.sweep_file import name_trial

LIGHTNING_COMMANDS = ("fit", "validate", "test")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        arguments = name_trial(sys.argv[1:] if argv is None else argv)
        if arguments[:1] and arguments[0] in LIGHTNING_COMMANDS:
            from fau_mae.runs.lightning_cli import run_lightning
            from fau_mae.tracking import sync_line

            out = run_lightning(arguments)
            if arguments[0] == "fit" and not os.environ.get("LOCAL_RANK") and (line := sync_line(out)):
                print(line)
        else:
            options = _parser().parse_args(arguments)
            options.command(options)
    except UserError as error:
        print(f"fau-mae: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"fau-mae: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("fau-mae: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fau-mae",
        description="Facial action units that survive occlusion: prepare data, train, distil, stress-test, detect.",
        epilog="fit, validate, test: Lightning's own command line for one stage; see `fau-mae fit --help`.",
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for name in LIGHTNING_COMMANDS:
        commands.add_parser(
            name, help=f"{name} one stage from a config (Lightning's options)", add_help=False
        )
    add_prepare(commands, _command)
    _add_run(commands)
    add_evaluate(commands, _command)
    add_sweep(commands, _command)
    _add_report(commands)
    _add_results(commands)
    add_dashboard(commands, _command)
    _add_detect(commands)
    add_foreign(commands, _command)
    _add_save(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction, name: str, run: Callable, about: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=about, description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(command=run)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = _command(
        commands, "run", _run, "all stages of an experiment, then the occlusion sweep and the report"
    )
    run.add_argument("experiment", help="a built-in name (quickstart, …) or a folder with experiment.yaml")
    run.add_argument("--out", type=Path, default=None, help="folder of the run (default: runs/EXPERIMENT)")
    run.add_argument("--store", type=Path, default=None, help="use this store instead of preparing one")
    run.add_argument("--folds", type=_numbers, default=None, help="such as 1,2,3 (default: the experiment's)")
    run.add_argument("--seeds", type=_numbers, default=None, help="such as 0,1,2 (default: the experiment's)")
    run.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="override settings, e.g. trainer.max_epochs=1",
    )
    run.add_argument("--root", type=Path, default=None, help="raw files of a licensed data set (bp4d, disfa)")
    run.add_argument(
        "--mae", type=Path, default=None, help="start from these weights; leaves the pre-training stage out"
    )
    run.add_argument("--ablate", action="store_true", help="train and sweep the experiment's ablations too")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print what is done, what would resume, and each stage's command",
    )


def _run(options: argparse.Namespace) -> None:
    from fau_mae.runs.runner import run_experiment

    run_experiment(
        options.experiment,
        options.out,
        options.store,
        options.folds,
        options.seeds,
        options.set,
        root=options.root,
        mae=options.mae,
        ablate=options.ablate,
        dry=options.dry_run,
    )


def _add_report(commands: argparse._SubParsersAction) -> None:
    report = _command(commands, "report", _report, "compare runs in one HTML page")
    report.add_argument("runs", type=Path, nargs="+", help="folders that `fau-mae run` made")
    report.add_argument("--out", type=Path, default=Path("report.html"), help="the page")


def _report(options: argparse.Namespace) -> None:
    from fau_mae.reports.page import write_report

    write_report(options.runs, options.out)
    print(options.out)


def _add_results(commands: argparse._SubParsersAction) -> None:
    results = _command(commands, "results", _results, "the tables of finished runs, into a Markdown document")
    results.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that `fau-mae run` made")
    results.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the document (.md): only what stands between its two marker lines is replaced; a .csv goes beside it",
    )


def _results(options: argparse.Namespace) -> None:
    from fau_mae.reports.document import write_results

    write_results(options.runs, options.out)
    print(f"{options.out}, {options.out.with_suffix('.csv')}")


def _add_detect(commands: argparse._SubParsersAction) -> None:
    detect = _command(
        commands, "detect", _detect, "pictures, folders or videos -> AU table and overlay pictures"
    )
    detect.add_argument("inputs", type=Path, nargs="+", metavar="INPUT", help="pictures, folders or videos")
    detect.add_argument("--out", type=Path, required=True, help="folder for aus.csv and the overlays")
    detect.add_argument(
        "--checkpoint", type=Path, default=None, help="(default: the student of runs/quickstart)"
    )


def _detect(options: argparse.Namespace) -> None:
    from fau_mae.inference.predict import detect_with_checkpoint

    detect_with_checkpoint(options.inputs, options.out, options.checkpoint)


def _add_save(commands: argparse._SubParsersAction) -> None:
    save = _command(commands, "save", _save, "the weights of a checkpoint, without training state")
    save.add_argument("checkpoint", type=Path, help="a checkpoint of any stage")
    save.add_argument(
        "--out", type=Path, required=True, help="the .safetensors file; goes wherever a checkpoint goes"
    )


def _save(options: argparse.Namespace) -> None:
    from fau_mae.weights.checkpoints import save_weights

    if options.out.suffix != ".safetensors":
        raise UserError(f"--out {options.out}: the name must end in .safetensors")
    save_weights(options.checkpoint, options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def entry() -> None:
    """The console script: quiet the libraries, run, exit."""
    _keep_freed_memory()
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
    os.environ.setdefault("WANDB_SILENT", "true")
    sys.exit(main())


def _keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: returning each to the system costs small CPU steps a tenth of their time."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


if __name__ == "__main__":
    entry()
