"""AUs of people photographed twice, neutral and posing: `python benchmarks/real_faces.py NEUTRAL POSED --out FILE.md`.

Two folders of pictures; the same person is the same name up to the last `_`, such as `001_03.jpg` and `001_08.jpg`.
A pose is no coding: `--aus` are those that it is known to show (a smile: 12 and 25, mostly 6, often 10), and all that
is asked is whether a model sees the difference, clean and along the ladder. Cost: about a minute per hundred pictures.

Look at a test set once: what is chosen is chosen elsewhere.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.progress import track

from data_modules.errors import UserError
from data_modules.face_data import CLEAN
from data_modules.faces.alignment import crop_matrix, warp
from data_modules.faces.detection import FaceDetector
from data_modules.faces.pictures import PICTURES, read_picture
from data_modules.facs import AUS, au_name
from data_modules.files import write_text
from data_modules.occlusion.apply import occlude
from data_modules.occlusion.spec import OcclusionSpec, token_visibility
from fau_mae import metrics
from fau_mae.inference.predictor import Predictor, Reading, load
from fau_mae.reports.markdown import table

SPECS = [CLEAN, *(OcclusionSpec(kind, share) for kind in ("patches", "block") for share in (0.25, 0.5, 0.75))]
DRAWS = 2000


class Faces(NamedTuple):
    """Two crops of each of P people, neutral first; A poses are asked for."""

    people: list[str]
    crops: np.ndarray  # (P, 2, H, W, 3) uint8
    points: np.ndarray  # (P, 2, 5, 2) in pixels of the crop
    lost: list[str]  # people of whom a face was not found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("neutral", type=Path)
    parser.add_argument("posed", type=Path)
    parser.add_argument(
        "--name", default="the pictures", help="with licence and attribution, for the document"
    )
    parser.add_argument("--aus", type=int, nargs="+", default=[12, 25, 6, 10])
    parser.add_argument("--teacher", default="shipped:teacher")
    parser.add_argument("--student", default="shipped:student")
    parser.add_argument("--detector", default="shipped:detector")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    student = load(options.student, detector=options.detector)
    teacher = load(options.teacher)
    faces = find_faces(options.neutral, options.posed, student)
    rows = [
        row
        for spec in track(SPECS, "ladder")
        for row in read_rung(spec, faces, {"clean": teacher, "student": student}, options.aus)
    ]
    words = " ".join(f"{au_name(au)} ({AUS[au].name})" for au in options.aus)
    write_text(options.out, document(pd.DataFrame(rows), faces, options.name, words))
    print(options.out)


def find_faces(neutral: Path, posed: Path, model: Predictor) -> Faces:
    """Everyone who is in both folders, cropped as `model` wants it."""
    folders = [_by_person(neutral), _by_person(posed)]
    people = sorted(set(folders[0]) & set(folders[1]))
    if not people:
        raise UserError(f"nobody is in both {neutral} and {posed}: names must agree up to the last _")
    finder, crops, points, found, lost = FaceDetector(40), [], [], [], []
    for person in track(people, "finding faces"):
        pictures = [read_picture(folder[person]) for folder in folders]
        faces = [
            max(finder.detect([picture])[0], key=lambda face: face.area, default=None) for picture in pictures
        ]
        if any(face is None for face in faces):
            lost.append(person)
            continue
        matrices = [crop_matrix(face, model.image_size, model.preset) for face in faces]
        crops.append([warp(picture, matrix, model.image_size) for picture, matrix in zip(pictures, matrices)])
        points.append([face.points @ matrix[:, :2].T + matrix[:, 2] for face, matrix in zip(faces, matrices)])
        found.append(person)
    return Faces(found, np.array(crops), np.array(points, np.float32), lost)


def _by_person(folder: Path) -> dict[str, Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    return {re.sub(r"_[^_]*$", "", path.stem): path for path in files}


def read_rung(
    spec: OcclusionSpec, faces: Faces, models: dict[str, Predictor], aus: Sequence[int]
) -> list[dict[str, object]]:
    """One row per method and AU; both pictures of a person are hidden by the same mask."""
    student = models["student"]
    grid, shape = student.grid, faces.crops.shape
    hidden = [
        occlude(faces.crops[p, k], spec, p, grid=grid, landmarks=faces.points[p, k], fill="grey")
        for p in range(shape[0])
        for k in range(2)
    ]
    pictures = np.stack([picture for picture, _ in hidden])  # (2P, H, W, 3)
    visible = np.stack([token_visibility(pixels, grid) for _, pixels in hidden])  # (2P, N), True = visible
    readings = {
        ("clean", ""): models["clean"].read(pictures),
        ("student", "oracle"): student.read(pictures, visible),
        ("student", "blind"): student.read(pictures),
    }
    known = models["clean"].aus, student.aus
    return [
        {"kind": spec.kind, "severity": spec.severity, "method": name, "mask": mask, "au": au}
        | _compare(reading, known[name == "student"].index(au))
        for (name, mask), reading in readings.items()
        for au in aus
    ]


def _compare(reading: Reading, place: int) -> dict[str, float]:
    """AUROC of posed against neutral with its interval over people, how many are higher, and false alarms."""
    values = reading.probabilities[:, place].reshape(-1, 2)  # (P, 2): neutral, posed
    draws = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile([_auroc(values[draw]) for draw in draws], (0.025, 0.975))
    present = reading.present[:, place].reshape(-1, 2)[:, 0]
    return {
        "auroc": _auroc(values),
        "low": float(low),
        "high": float(high),
        "higher": float((values[:, 1] > values[:, 0]).mean()),
        "alarms": float((present == 1).mean()),
        "undecided": float(np.isnan(present).mean()),
    }


def _auroc(values: np.ndarray) -> float:
    """(P, 2) neutral, posed -> AUROC."""
    labels = np.broadcast_to(np.array([0, 1], np.int8), values.shape).reshape(-1, 1)
    return float(metrics.auroc(metrics.rankings(values.reshape(-1, 1), labels))[0])


def document(rows: pd.DataFrame, faces: Faces, name: str, aus: str) -> str:
    """Markdown."""
    parts = [
        "# Real faces",
        f"Written by `benchmarks/real_faces.py`. {len(faces.people)} people of {name}, each photographed neutral and "
        f"posing; {len(faces.lost)} more were left out because a face was not found. A pose is no coding: what is "
        f"asked is whether {aus} tells the two apart. `clean` is the teacher on hidden pixels; both pictures of a "
        "person are hidden by the same mask, in grey. AUROC over all pictures with its 95 % interval over people; "
        "*higher*: share of people whose posed picture scores higher; *alarms*: share of neutral pictures given the "
        "AU at the weights' own threshold, *undecided*: share in which the AU is taken for hidden.",
    ]
    for au in rows["au"].unique():
        parts.append(f"## {au_name(au)}")
        cells = [
            [
                row["kind"] if row["severity"] else "whole face",
                f"{row['severity']:g}" if row["severity"] else "",
                row["method"],
                row["mask"],
                f"{row['auroc']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
                f"{row['higher']:.2f}",
                f"{row['alarms']:.2f}",
                f"{row['undecided']:.2f}",
            ]
            for _, row in rows[rows["au"] == au].iterrows()
        ]
        head = [
            "hidden",
            "share",
            "method",
            "mask",
            "AUROC, posed against neutral",
            "higher",
            "alarms",
            "undecided",
        ]
        parts.append(table(head, cells))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
