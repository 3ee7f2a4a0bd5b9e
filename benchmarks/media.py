"""Memory and time of `detect` and `occlude` over very many pictures: `python benchmarks/media.py --checkpoint CKPT`.

Memory: resident megabytes of the command as it goes through pictures of as many sizes as there are pictures; it must
not grow. Names: seconds per picture over 40 and over 160 folders that each hold the same 50 names; they must not grow
either. Pictures of the second kind are too small to hold a face, so that what is measured is the handling of files.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from skimage.data import astronaut

FOLDERS, NAMES = (40, 160), 50
OCCLUSIONS = ["--kind", "patches", "hand", "--severity", "0.5"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="a Teacher or Student, for detect")
    parser.add_argument(
        "--pictures", type=int, default=10_000, help="of different sizes (default: %(default)s)"
    )
    options = parser.parse_args()
    commands = {"detect": ["--checkpoint", options.checkpoint], "occlude": OCCLUSIONS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_sizes(folder / "sizes", options.pictures)
        for command, more in commands.items():
            seen = dict(
                _follow([command, str(folder / "sizes"), "--out", str(folder / command), *more], folder)
            )
            steps = ", ".join(f"{megabytes:.0f} MB after {count}" for count, megabytes in seen.items())
            print(f"{command}: {steps}", flush=True)
        for folders in FOLDERS:
            _write_names(folder / f"names{folders}", folders)
            for command, more in commands.items():
                line = [
                    command,
                    str(folder / f"names{folders}"),
                    "--out",
                    str(folder / f"{command}{folders}"),
                ]
                start = time.perf_counter()
                subprocess.run(_line([*line, *more]), check=True, stdout=subprocess.DEVNULL)
                took = time.perf_counter() - start
                count = folders * NAMES
                print(
                    f"{command}, {folders} × {NAMES} names: {took:.0f} s, {1000 * took / count:.1f} ms each",
                    flush=True,
                )


def _follow(command: list[str], folder: Path, step: int = 1000) -> Iterator[tuple[int, float]]:
    """Pictures done and resident megabytes, every `step` pictures."""
    wanted = step
    with subprocess.Popen(_line(command), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(0.5)
            done = len({path.name.split(".")[0] for path in folder.glob(f".{command[0]}.*/**/*.png")})
            if done >= wanted and (resident := _resident(process.pid)):
                yield done, resident
                wanted = done - done % step + step
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")


def _line(command: list[str]) -> list[str]:
    return [sys.executable, "-m", "fau_mae.cli", *command]


def _resident(process: int) -> float:
    """Megabytes; 0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("Rss:"))


def _write_sizes(folder: Path, count: int) -> None:
    """A public-domain portrait on grey, in `count` sizes."""
    folder.mkdir()
    portrait = astronaut()[:300, 80:380, ::-1]
    rng = np.random.default_rng(0)
    for number in range(count):
        width, height = rng.integers(160, 480, 2)
        side = int(rng.integers(100, min(width, height)))
        picture = np.full((height, width, 3), 96, np.uint8)
        picture[:side, :side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{number:06}.jpg"), picture)


def _write_names(folder: Path, folders: int) -> None:
    grey = np.full((32, 32, 3), 96, np.uint8)
    for place in range(folders):
        (folder / f"{place:03}").mkdir(parents=True)
        for name in range(NAMES):
            cv2.imwrite(str(folder / f"{place:03}" / f"{name:02}.png"), grey)


if __name__ == "__main__":
    main()
