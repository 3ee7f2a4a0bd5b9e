"""The occlusion ladder: every method on every rung, on the same masks, into prediction files."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.progress import Progress
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.face_data import CLEAN, FaceDataModule
from data_modules.facs import au_name
from data_modules.files import write_parquet
from data_modules.occlusion.spec import OcclusionSpec
from fau_mae.evaluation.examples import write_examples
from fau_mae.evaluation.mask_quality import mask_quality
from fau_mae.evaluation.methods import Method
from fau_mae.evaluation.predictions import SPLITS, write_labels
from fau_mae.evaluation.regions import region_hidden_share
from fau_mae.evaluation.saliency import saliency_maps
from fau_mae.models.detectors.token_detector import TokenDetector

WINDOW = 4  # batches
PICTURES = 1 << 28  # bytes of decoded pictures kept for the next rungs of a split


def rungs(kinds: Sequence[str], severities: Sequence[float]) -> list[OcclusionSpec]:
    """Clean faces once, then every kind at every severity above 0, under the protocol's own masks."""
    return [CLEAN] + [
        OcclusionSpec(kind, severity) for kind in kinds for severity in severities if severity > 0
    ]


@torch.inference_mode()
def walk_ladder(
    methods: Sequence[Method],
    data: FaceDataModule,
    specs: Sequence[OcclusionSpec],
    run_dir: Path,
    detector: TokenDetector | None = None,
) -> None:
    """Write the predictions of all methods under all occlusions, and example faces; what is there already is kept.

    Files: `predictions/<split>/<method>-<mask_source>/<kind>-<severity>.parquet` with sample_id, subject, hidden
    (exact hidden share of the crop's tokens) and one probability column per AU; `labels.parquet` beside them, and
    in `regions/` the hidden share of each AU's region. Methods that are `blind` read the mask that `detector`
    estimates, and `mask_quality.parquet` says how good that is on test faces.
    The kind `saliency` hides by gradient maps of the method `clean`, kept in `saliency.npz`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if detector is not None:
        detector = detector.to(device)
    if any(spec.kind == "saliency" for spec in specs):
        data.saliency = _saliency(methods, data, run_dir, device)
    with Progress(transient=True) as progress:
        task = progress.add_task("occlusion ladder", total=len(SPLITS) * len(specs))
        for split in SPLITS:
            folder = run_dir / "predictions" / split
            write_labels(data, split, folder)
            # Workers, where there are any, decode beside the models and keep nothing.
            faces = data.dataset(False, room=0 if data.num_workers else PICTURES)
            for spec in specs:
                progress.update(task, description=f"{split}: {spec.kind} {spec.severity:g}")
                loader = data.ladder_dataloader(split, spec, faces)
                _walk_rung(methods, data, loader, spec, folder, device, detector)
                progress.advance(task)
    quality = run_dir / "predictions" / "test" / "mask_quality.parquet"
    if detector is not None and not quality.exists():
        write_parquet(quality, mask_quality(detector, data, specs, device))
    named = [method for method in methods if method.mask_source != "blind" and method.severity is None]
    write_examples(named, data, specs, run_dir / "predictions" / "test", device)


def _saliency(
    methods: Sequence[Method], data: FaceDataModule, run_dir: Path, device: torch.device
) -> dict[int, np.ndarray]:
    """Maps of both splits by the method `clean`, or the first one: all methods then walk the same masks."""
    looks = next((method for method in methods if method.name == "clean"), methods[0])
    made_by = f"{looks.name}-{looks.mask_source} {looks.checkpoint}"
    maps: dict[int, np.ndarray] = {}
    for split in SPLITS:
        path = run_dir / "predictions" / split / "saliency.npz"
        maps |= saliency_maps(looks.predict, made_by, data, split, path, device)
    return maps


def _walk_rung(
    methods: Sequence[Method],
    data: FaceDataModule,
    loader: Iterable[FaceBatch],
    spec: OcclusionSpec,
    folder: Path,
    device: torch.device,
    detector: TokenDetector | None,
) -> None:
    """One occlusion: each batch is decoded and hidden once and read by every method that has no file yet."""
    files = {method: _cell_path(folder, method, spec) for method in methods}
    asked = [method for method in methods if method.severity in (None, spec.severity)]
    todo = [method for method in asked if not files[method].exists()]
    if not todo:
        return
    subjects = np.unique(data.store.column("subject"))
    columns: dict[str, list[np.ndarray]] = {"sample_id": [], "subject": [], "hidden": []}
    regions: list[np.ndarray] = []
    probabilities: dict[Method, list[np.ndarray]] = {method: [] for method in todo}
    for batch in _joined(loader):
        columns["sample_id"].append(batch.sample_id.numpy())
        columns["subject"].append(subjects[batch.subject.numpy()])
        columns["hidden"].append((~batch.visible).float().mean(1).numpy())  # True = visible
        regions.append(region_hidden_share(batch.visible.numpy(), data.faces.regions))  # (B, A)
        on_device = FaceBatch(*(field.to(device) for field in batch))
        told = {"none": on_device, "oracle": on_device}
        if detector is not None and any(method.mask_source == "blind" for method in todo):
            told["blind"] = on_device._replace(visible=detector.visible(on_device.image))
        for method in todo:
            said = _predict(method, told[method.mask_source], data.batch_size)
            probabilities[method].append(said.float().cpu().numpy())
    table = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    names = [au_name(au) for au in data.aus]
    shares = pd.DataFrame(np.concatenate(regions), columns=names)
    shares.insert(0, "sample_id", table["sample_id"])
    write_parquet(
        folder / "regions" / f"{spec.kind}-{spec.severity:.2f}.parquet",
        shares.drop_duplicates("sample_id"),
    )
    for method in todo:
        values = pd.DataFrame(np.concatenate(probabilities[method]), columns=names)
        write_parquet(files[method], pd.concat([table, values], axis=1).drop_duplicates("sample_id"))


def _joined(loader: Iterable[FaceBatch]) -> Iterator[FaceBatch]:
    """`WINDOW` batches as one, so that faces of which as much is visible can be read together."""
    batches = iter(loader)
    while window := list(islice(batches, WINDOW)):
        yield FaceBatch(*(torch.cat(fields) for fields in zip(*window)))


def _predict(method: Method, batch: FaceBatch, size: int) -> Tensor:
    """(B, A) probabilities, `size` faces at a time.

    A method that leaves hidden tokens out is given faces of which as much is visible together: every face of a pass
    costs as much as the one of which most is.
    """
    order = torch.arange(len(batch.image), device=batch.image.device)
    if method.mask_source != "none":
        order = batch.visible.sum(1).argsort(stable=True)  # True = visible
    said = torch.cat([method.predict(FaceBatch(*(f[part] for f in batch))) for part in order.split(size)])
    return said[order.argsort()]


def _cell_path(folder: Path, method: Method, spec: OcclusionSpec) -> Path:
    return folder / f"{method.name}-{method.mask_source}" / f"{spec.kind}-{spec.severity:.2f}.parquet"
