"""From raw video to store and from store to batches: `python benchmarks/prepare.py`.

`prepare`: frames per second and peak memory of one process over videos of DISFA's size. `FaceDataModule`:
pictures per second as a share of plain JPEG decoding, both timed in turns in this process, so that other load
on the machine hurts both alike; the median of the ratio counts. Targets at 224²: .85 without augmentation, .5
with.
"""

import argparse
import resource
import statistics
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
from data_modules.store import FaceStore, decode_image

WIDTH, HEIGHT = 1024, 768  # of DISFA's videos
SUBJECTS = ("SN001", "SN002", "SN003", "SN004", "SN006", "SN011")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60, help="frames per subject (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_raw(folder / "raw", options.frames)
        start = time.perf_counter()
        store = prepare_disfa(folder / "raw", folder / "s", size=options.size, workers=1, progress=False)
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        frames = store.info.counts["frames"]
        print(f"prepare, {WIDTH}×{HEIGHT}, one core: {frames / seconds:.1f} frames/s, peak {memory:.2f} GB")
        for augment in (False, True):
            share, rate = _loading(store, augment, options.rounds)
            name = "with" if augment else "without"
            print(f"FaceDataModule {name} augmentation: {rate:.0f} pictures/s, {share:.2f} of plain decoding")


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


def _loading(store: FaceStore, augment: bool, rounds: int) -> tuple[float, float]:
    """Median over `rounds` of (rate of the loader / rate of plain decoding), and the loader's pictures/s."""
    data = FaceDataModule(store=store.path, augment=augment, batch_size=32)
    data.setup("fit")
    files = store.table.data.column("image").to_pylist()
    shares, rates = [], []
    for turn in range(rounds + 1):
        start = time.perf_counter()
        for content in files:
            decode_image(content)
        plain = len(files) / (time.perf_counter() - start)
        start = time.perf_counter()
        pictures = sum(len(batch.image) for batch in data.train_dataloader())
        rate = pictures / (time.perf_counter() - start)
        if turn:  # the first warms up
            shares.append(rate / plain)
            rates.append(rate)
    return statistics.median(shares), statistics.median(rates)


if __name__ == "__main__":
    main()
