"""Tiny data sets in their real layout on disk, with frames whose pictures, numbers and labels are known.

Every frame carries its number as a row of black and white fields at the top, so a test can tell which it got.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from skimage.data import astronaut

from data_modules.facs import BP4D_AUS, DISFA_ALL_AUS
from data_modules.stores.store import FaceStore, encode_image
from data_modules.stores.store_writer import StoreWriter

WIDTH, HEIGHT = 320, 240
_FIELDS, _FIELD = 13, 20  # a number below 8192


@cache
def _face_picture() -> np.ndarray:
    """The astronaut's head, uint8 RGB (200, 200, 3); public domain."""
    return np.ascontiguousarray(astronaut()[20:220, 120:320])


def numbered_frame(number: int, face: bool = True) -> np.ndarray:
    """uint8 RGB (HEIGHT, WIDTH, 3) with the number along the top edge and, unless left out, one face."""
    frame = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
    if face:
        left = 40 + number % 20
        frame[35:235, left : left + 200] = _face_picture()
    for bit in range(_FIELDS):
        cv2.rectangle(frame, (bit * _FIELD, 0), (bit * _FIELD + 15, 15), (255 * (number >> bit & 1),) * 3, -1)
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number that `numbered_frame` drew."""
    return sum(
        1 << bit for bit in range(_FIELDS) if frame[4:12, bit * _FIELD + 4 : bit * _FIELD + 12].mean() > 128
    )


def write_video(
    path: Path, frames: Iterable[np.ndarray], codec: str = "mjpeg", variable_rate: bool = False
) -> None:
    """Encode frames of `numbered_frame`; H.264 gets B-frames, `variable_rate` irregular time stamps."""
    options = {"bf": "3", "g": "24"} if codec == "libx264" else {"qscale": "2"}
    base = Fraction(1, 1000)
    times = np.random.default_rng(0).integers(10, 90, 100_000).cumsum()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if variable_rate:
            stream.codec_context.time_base = base
        for number, picture in enumerate(frames):
            if not number:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (
                (int(times[number]), base) if variable_rate else (number, Fraction(1, 25))
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def disfa_intensity(subject: str, au: int, frames: int) -> np.ndarray:
    """The label of each frame (frames,), 0-5, as `write_disfa` wrote it."""
    rng = np.random.default_rng([int(subject[2:]), au])
    return np.where(rng.random(frames) < 0.5, 0, rng.integers(0, 6, frames))


def write_disfa(
    root: Path,
    subjects: Iterable[str] = ("SN001", "SN003", "SN006"),
    frames: int = 6,
    faceless: Iterable[int] = (),
    videos: bool = True,
) -> Path:
    """DISFA's layout: one video per subject and camera, one text file per subject and AU.

    `faceless`: frame numbers, from 1, that show no face.
    """
    faceless = set(faceless)
    for subject in subjects:
        folder = root / "ActionUnit_Labels" / subject
        folder.mkdir(parents=True)
        for au in DISFA_ALL_AUS:
            values = disfa_intensity(subject, au, frames)
            text = "".join(f"{frame},{value}\n" for frame, value in enumerate(values, 1))
            (folder / f"{subject}_au{au}.txt").write_text(text)
        for side in ("Left", "Right") if videos else ():
            path = root / f"Videos_{side}Camera" / f"{side}Video{subject}_comp.avi"
            path.parent.mkdir(exist_ok=True)
            write_video(path, (numbered_frame(n, n not in faceless) for n in range(1, frames + 1)))
    return root


_BP4D_COLUMNS = (*BP4D_AUS[:3], 5, *BP4D_AUS[3:])  # a column more than is read
PADDINGS = (1, 3, 4, 5)


def bp4d_codes(subject: str, task: str, frames: int) -> np.ndarray:
    """The codes of each frame (frames, 12), 0, 1 or 9, as `write_bp4d` wrote them."""
    rng = np.random.default_rng([ord(subject[0]), int(subject[1:]), int(task[1:])])
    return rng.choice([0, 1, 9], (frames, len(BP4D_AUS)), p=[0.6, 0.35, 0.05])


def write_bp4d_labels(root: Path, subject: str, task: str, frames: int, release: str = "original") -> Path:
    """One label file of either release. FERA 2015: a column per number up to 27, then the occlusion flag."""
    codes = bp4d_codes(subject, task, frames)
    if release == "original":
        path = root / "AUCoding" / "AU_OCC" / f"{subject}_{task}.csv"
        places, names = _BP4D_COLUMNS, ["0", *map(str, _BP4D_COLUMNS)]
    else:
        path = root / "BP4D-AUCoding" / "AUCoding" / f"{subject}_{task}.csv"
        places, names = tuple(range(1, 28)), None
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(names)] if names else []
    for frame in range(1, frames + 1):
        values = {au: int(codes[frame - 1, column]) for column, au in enumerate(BP4D_AUS)}
        cells = [str(values.get(au, 9)) for au in places]
        lines.append(",".join([str(frame), *cells, *(["0"] if release == "fera2015" else [])]))
    path.write_text("\r\n".join(lines) + "\r\n", newline="")
    return path


def write_bp4d(
    root: Path,
    sequences: Iterable[tuple[str, str]] = (("F001", "T1"), ("F003", "T2"), ("M003", "T1"), ("M004", "T8")),
    frames: int = 3,
    release: str = "original",
) -> Path:
    """BP4D's layout: one folder of JPEGs per task, each with another zero padding, and one label file."""
    for place, (subject, task) in enumerate(sequences):
        write_bp4d_labels(root, subject, task, frames, release)
        folder = root / "Sequences(2D+3D)" / subject / task
        folder.mkdir(parents=True)
        for number in range(1, frames + 1):
            path = folder / f"{number:0{PADDINGS[place % len(PADDINGS)]}d}.jpg"
            cv2.imwrite(str(path), cv2.cvtColor(numbered_frame(number), cv2.COLOR_RGB2BGR))
    return root


def relabelled(store: FaceStore, out: Path, change: Callable[[np.ndarray, np.ndarray], None]) -> FaceStore:
    """A copy of a store after `change(labels (n, A), subjects (n,))` has written into its labels."""
    labels, subjects = store.column("labels").copy(), store.column("subject")
    change(labels, subjects)
    writer = StoreWriter(out, store.info)
    for name in np.unique(subjects):
        rows = [
            {
                "sample_id": int(store.column("sample_id")[row]),
                "image": encode_image(store.image(row), "png"),
                "subject": str(name),
                "task": "",
                "frame": int(store.column("frame")[row]),
                "labels": labels[row].tolist(),
                "intensity": store.column("intensity")[row].tolist(),
                "landmarks": [] if (points := store.landmarks(row)) is None else points.ravel().tolist(),
                "box": [0.0, 0.0, 1.0, 1.0],
                "source": f"{name}/{row}",
                "source_hash": "",
            }
            for row in np.flatnonzero(subjects == name)
        ]
        writer.write_part(str(name), rows)
    return writer.finish(map(str, np.unique(subjects)))
