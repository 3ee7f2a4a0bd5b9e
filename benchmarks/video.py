"""Which decoder gives frame i as frame i, and how fast: `python benchmarks/video.py`.

PyAV, which `data_modules.faces.video` uses, against torchcodec where it is installed (`pip install torchcodec`; it is
no dependency of ours). Each codec gets one video whose frames carry their number. Exact: frames that came back as
the frame they are, decoded from first to last; sought: the same for frames asked for by index in random order,
which only torchcodec offers. Frames/s are of one core's time, decoded to RGB, at DISFA's 1024×768.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import fixtures_datasets as fixtures

from data_modules.faces.video import Video

CASES = {  # name -> file, codec, variable frame rate
    "AVI/MJPEG": ("a.avi", "mjpeg", False),
    "MP4/H.264, B-frames": ("b.mp4", "libx264", False),
    "MP4/H.264, variable rate": ("c.mp4", "libx264", True),
    "AVI/MPEG-4": ("d.avi", "mpeg4", False),
}
Decode = Callable[[Path], Iterable[np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=300, help="of each video (default: %(default)s)")
    frames = parser.parse_args().frames
    decoders: dict[str, Decode] = {"PyAV": _video_frames}
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.avi"
        fixtures.write_video(probe, [fixtures.numbered_frame(0)])
        try:
            _torchcodec(probe)
            decoders["torchcodec"] = _torchcodec_frames
        except (ImportError, OSError, RuntimeError) as error:  # not installed, or it finds no FFmpeg
            print(f"torchcodec is left out: {str(error).splitlines()[0]}")
        print(f"{'':26}{'decoder':12}{'exact':>12}{'sought':>12}{'frames/s':>10}")
        for name, (file, codec, variable) in CASES.items():
            small, large = Path(folder) / file, Path(folder) / f"large-{file}"
            numbered = [fixtures.numbered_frame(n) for n in range(frames)]
            fixtures.write_video(small, numbered, codec, variable)
            _write_large(large, numbered[:60], codec, variable)
            for decoder, decode in decoders.items():
                exact = sum(fixtures.read_number(f) == n for n, f in enumerate(decode(small)))
                sought = f"{_sought(small, frames)}/{frames}" if decoder == "torchcodec" else "–"
                start = time.process_time()
                count = sum(1 for _ in decode(large))
                rate = count / (time.process_time() - start)
                print(f"{name:26}{decoder:12}{f'{exact}/{frames}':>12}{sought:>12}{rate:>10.0f}")


def _write_large(path: Path, pictures: list[np.ndarray], codec: str, variable: bool) -> None:
    width, height = fixtures.WIDTH, fixtures.HEIGHT
    try:
        fixtures.WIDTH, fixtures.HEIGHT = 1024, 768
        large = (cv2.resize(picture, (1024, 768), interpolation=cv2.INTER_CUBIC) for picture in pictures)
        fixtures.write_video(path, large, codec, variable)
    finally:
        fixtures.WIDTH, fixtures.HEIGHT = width, height


def _video_frames(path: Path) -> Iterable[np.ndarray]:
    return (frame for _, frame in Video(path))


def _torchcodec(path: Path):
    from torchcodec.decoders import VideoDecoder

    return VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)


def _torchcodec_frames(path: Path) -> Iterable[np.ndarray]:
    return (frame.numpy() for frame in _torchcodec(path))


def _sought(path: Path, frames: int) -> int:
    decoder = _torchcodec(path)
    order = np.random.default_rng(0).permutation(frames).tolist()
    return sum(fixtures.read_number(decoder[n].numpy()) == n for n in order)


if __name__ == "__main__":
    main()
