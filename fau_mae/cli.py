"""The `fau-mae` command.

Exit 0 on success; 1 where some inputs could not be read and were left out; 2 for wrong use, bad input or an error of
the disk, with one clear line; 130 on Ctrl-C, 143 on SIGTERM.
"""

import argparse
import codecs
import contextlib
import ctypes
import io
import locale
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise

from data_modules.errors import Stopped, UserError, explain, shown
from data_modules.locks import locked
from fau_mae.commands import (
    dashboard,
    detect,
    evaluate,
    evaluate_predictions,
    experiments,
    export,
    lightning,
    occlude,
    prepare,
    report,
    results,
    run,
    save,
    sweep,
)
from fau_mae.home import provide_home
from fau_mae.signals import hold_signals, raising_stopped, stopped_behind
from fau_mae.sweeps.sweep_file import name_trial

COMMANDS = (  # in the order of the help
    lightning,
    prepare,
    experiments,
    run,
    evaluate,
    sweep,
    report,
    results,
    dashboard,
    detect,
    occlude,
    evaluate_predictions,
    save,
    export,
)

# Keep what they have done when stopped.
RESUMABLE = (
    *lightning.NAMES[:1],
    "prepare",
    "run",
    "evaluate",
    "sweep",
)


@raising_stopped()
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = name_trial(arguments)
        if arguments[:1] and arguments[0] in lightning.NAMES:
            lightning.run(arguments)
        else:
            options = _parser().parse_args(arguments)
            with locked(options.out) if options.locks else contextlib.nullcontext():
                return options.command(options) or 0
    except UserError as error:
        print(f"fau-mae: {shown(error)}", file=sys.stderr)
        return 2
    except Stopped as error:
        return _say_stopped(error, arguments)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    except BrokenPipeError:  # whoever read what is printed has heard enough, as in `fau-mae … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if (stop := stopped_behind(error)) is not None:
            return _say_stopped(stop, arguments)
        if (line := explain(error, out=_output(arguments))) is None:
            raise
        print(f"fau-mae: {shown(line)}", file=sys.stderr)
        return 2
    return 0


def _output(arguments: list[str]) -> str | None:
    """What a line says after `--out`."""
    for word, after in pairwise([*arguments, ""]):
        if word == "--out" or word.startswith("--out="):
            return word.partition("=")[2] or after
    return None


def _say_stopped(error: Stopped, arguments: list[str]) -> int:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # one process speaks for all of a training
        hint = "; the same command goes on from here" if {*arguments[:1]} & {*RESUMABLE} else ""
        print(f"fau-mae: {error}{hint}", file=sys.stderr)
    return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fau-mae",
        description="Facial action units that survive occlusion: prepare data, train, distil, stress-test, detect.",
        epilog="fit, validate, test: Lightning's own command line for one stage; see `fau-mae fit --help`.",
    )
    parser.add_argument("--version", action="version", version=f"fau-mae {_version()}")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _version() -> str:
    try:
        return version("fau-mae")
    except PackageNotFoundError:
        return "of an unpacked source tree, not installed"


def entry() -> None:
    """The console script: quiet the libraries, run, exit."""
    _speak_utf8()
    provide_home()
    _wait_passively()
    _keep_freed_memory()
    _keep_few_kernels()
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
    os.environ.setdefault("WANDB_SILENT", "true")
    code = main()
    if code > 128:
        hold_signals()
    sys.exit(code)


def _speak_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding: libraries read and write text, too.

    What is printed keeps the terminal's encoding, and no letter that it lacks ends a command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    is_utf8 = sys.flags.utf8_mode or codecs.lookup(locale.getpreferredencoding(False)).name == "utf-8"
    if is_utf8 or os.environ.get("PYTHONUTF8") == "1" or sys.flags.ignore_environment or os.name != "posix":
        return
    os.environ.setdefault("PYTHONIOENCODING", f"{locale.getpreferredencoding(False)}:backslashreplace")
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _wait_passively() -> None:
    """Let idle threads sleep: on a busy machine those that spin cost a training step several times its time.

    Read when torch is loaded, so set before; processes started from here inherit it. Pinned threads are left alone.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # GNU's OpenMP, and others
        os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's and LLVM's


def _keep_few_kernels() -> None:
    """oneDNN keeps the code it makes for each shape, 1024 pieces of it: pictures of many sizes would fill memory.

    Read when torch first computes; processes started from here inherit it.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def _keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: returning each to the system costs small CPU steps a tenth of their time."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


if __name__ == "__main__":
    entry()
