"""From raw video to store and from store to batches: `python benchmarks/prepare.py`.

`prepare`: frames per second of one core, and the peak memory of the whole command with its default processes,
over videos of DISFA's size; proportional memory counts a page that processes share once. `FaceDataModule`:
pictures per second as a share of plain JPEG decoding. After every batch as many pictures are decoded plainly, both
in this process's CPU time, so that other load on the machine hurts both alike; the median over epochs counts.
Targets at 224²: .85 without augmentation, .5 with.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from skimage.data import astronaut

from data_modules.disfa import prepare_disfa
from data_modules.face_data import FaceDataModule
from data_modules.facs import DISFA_AUS
from data_modules.occlusion.config import OcclusionConfig
from data_modules.stores.store import FaceStore, decode_image

WIDTH, HEIGHT = 1024, 768  # of DISFA's videos
SUBJECTS = ("SN001", "SN002", "SN003", "SN004", "SN006", "SN011")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60, help="frames per subject (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="epochs of each kind (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_raw(folder / "raw", options.frames)
        start = time.process_time()
        store = prepare_disfa(folder / "raw", folder / "s", size=options.size, workers=1, progress=False)
        rate = store.info.counts["frames"] / (time.process_time() - start)
        print(f"prepare, {WIDTH}×{HEIGHT}: {rate:.1f} frames/s per core")
        resident, proportional, processes = _peak_memory(folder, options.size)
        print(f"prepare, default processes ({processes} at most): peak {proportional:.2f} GB proportional, "
              f"{resident:.2f} GB resident in all")  # fmt: skip
        for augment, kinds in ((False, ()), (True, ()), (True, ("patches", "block"))):
            share, rate = _loading(store, augment, kinds, options.rounds)
            name = f"{'with' if augment else 'without'} augmentation{', occluded' if kinds else ''}"
            print(f"FaceDataModule {name}: {rate:.0f} pictures/s, {share:.2f} of plain decoding")


def _peak_memory(folder: Path, size: int) -> tuple[float, float, int]:
    """Largest resident and proportional memory in GB, and number, of the processes of one `prepare` command."""
    command = [sys.executable, "-m", "fau_mae.cli", "prepare", "disfa", "--root", str(folder / "raw")]
    command += ["--out", str(folder / "t"), "--size", str(size)]
    resident = proportional = most = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            usage = [_memory(number) for number in _descendants(process.pid)]
            resident = max(resident, sum(used[0] for used in usage))
            proportional, most = max(proportional, sum(used[1] for used in usage)), max(most, len(usage))
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"prepare ended with {process.returncode}")
    return resident, proportional, int(most)


def _descendants(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    with contextlib.suppress(OSError):  # it may have ended
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _descendants(int(child))
    return found


def _memory(process: int) -> tuple[float, float]:
    """Resident and proportional memory in GB; 0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0, 0.0
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kilobytes["Rss"] / 1e6, kilobytes["Pss"] / 1e6


def _write_raw(root: Path, frames: int) -> None:
    """DISFA's layout with a public-domain portrait that moves about."""
    portrait = cv2.resize(astronaut()[:300, 80:380], (700, 700), interpolation=cv2.INTER_CUBIC)
    for subject in SUBJECTS:
        labels = root / "ActionUnit_Labels" / subject
        labels.mkdir(parents=True)
        for au in DISFA_AUS:
            (labels / f"{subject}_au{au}.txt").write_text(
                "".join(f"{f},{f % 6}\n" for f in range(1, frames + 1))
            )
        path = root / "Videos_LeftCamera" / f"LeftVideo{subject}_comp.avi"
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=20, options={"qscale": "3"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for number in range(frames):
                picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
                left = 100 + number % 50
                picture[40:740, left : left + 700] = portrait
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 20)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


def _loading(store: FaceStore, augment: bool, kinds: tuple[str, ...], rounds: int) -> tuple[float, float]:
    """Median over `rounds` of (rate of the loader / rate of plain decoding), and the loader's pictures/s."""
    data = FaceDataModule(store=store.path, augment=augment, occlusion=OcclusionConfig(kinds))
    data.setup("fit")
    files, loader = (
        [image["bytes"] for image in store.table.data.column("image").to_pylist()],
        data.train_dataloader(),
    )
    shares, rates = [], []
    for turn in range(rounds + 1):
        plain = loading = pictures = 0.0
        batches = iter(loader)
        while True:
            start = time.process_time()
            batch = next(batches, None)
            loading += time.process_time() - start
            if batch is None:
                break
            pictures += len(batch.image)
            start = time.process_time()
            for content in files[: len(batch.image)]:
                decode_image(content)
            plain += time.process_time() - start
        if turn:  # the first warms up
            shares.append(plain / loading)
            rates.append(pictures / loading)
    return statistics.median(shares), statistics.median(rates)


if __name__ == "__main__":
    main()
