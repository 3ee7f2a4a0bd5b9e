"""The occlusion sweep: every method on every rung of the ladder, on the same masks, into prediction files."""

import json
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from rich.progress import Progress
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from data_modules.face_data import CLEAN, FaceDataModule
from data_modules.facs import au_name
from data_modules.files import read_yaml, write_parquet
from data_modules.occlusion.config import OcclusionConfig
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.stores.store import encode_image
from fau_mae.evaluation.mask_quality import mask_quality
from fau_mae.evaluation.regions import region_hidden_share
from fau_mae.evaluation.saliency import saliency_maps
from fau_mae.evaluation.scoring import ThresholdRule, macro_table, score_predictions
from fau_mae.models.backbone.decoder import reconstruct
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.weights.checkpoints import load_au_model, load_detector, load_mae

SPLITS = ("validation", "test")  # thresholds come from the first
EXAMPLE_FACES = 4


class Method(NamedTuple):
    """A way to read occluded faces: a name for the tables, what it is told, and its probabilities."""

    name: str
    mask_source: (
        str  # none: pixels alone; oracle: the true mask is given; blind: one estimated from the picture
    )
    checkpoint: Path
    predict: Callable[[FaceBatch], Tensor]  # -> (B, A) in [0, 1]
    severity: float | None = None  # the only one it is asked at; None = all of them, and clean faces
    reads: Callable[[FaceBatch], Tensor] | None = None  # -> (B, 3, H, W) uint8; None: it reads `batch.image`


def au_method(name: str, checkpoint: Path, aus: tuple[int, ...], device: torch.device) -> Method:
    """A Teacher or Student checkpoint as it is; only a Student is given the mask. Raises `UserError` for other AUs."""
    loaded = load_au_model(checkpoint)
    if loaded.aus != aus:
        raise UserError(f"{checkpoint} knows AUs {loaded.aus}, the store has {aus}; use a store of its own")
    model = loaded.model.to(device)

    def predict(batch: FaceBatch) -> Tensor:
        return model(batch.image, batch.visible if loaded.about.uses_mask else None).logits.sigmoid()

    return Method(name, "oracle" if loaded.about.uses_mask else "none", checkpoint, predict)


def reconstruct_method(
    name: str, checkpoint: Path, mae: Path, aus: tuple[int, ...], device: torch.device
) -> Method:
    """The pre-trained autoencoder fills the hidden patches in, then the clean model reads the whole picture."""
    clean = au_method(name, checkpoint, aus, device)
    encoder, decoder = load_mae(mae)
    encoder, decoder = encoder.to(device), decoder.to(device)

    def reads(batch: FaceBatch) -> Tensor:
        return reconstruct(encoder, decoder, batch.image, batch.visible)

    def predict(batch: FaceBatch) -> Tensor:
        return clean.predict(batch._replace(image=reads(batch)))

    return Method(name, "oracle", checkpoint, predict, reads=reads)


def with_blind(methods: Sequence[Method], leave_out: Container[str] = ()) -> list[Method]:
    """The methods, and after each one that is given the true mask itself again, with an estimated one.

    Methods of one severity and those named in `leave_out` stay as they are.
    """
    rows = []
    for method in methods:
        rows.append(method)
        if method.mask_source == "oracle" and method.severity is None and method.name not in leave_out:
            rows.append(method._replace(mask_source="blind"))
    return rows


def ladder(kinds: Sequence[str], severities: Sequence[float]) -> list[OcclusionSpec]:
    """Clean faces once, then every kind at every severity above 0, under the protocol's own masks."""
    return [CLEAN] + [
        OcclusionSpec(kind, severity) for kind in kinds for severity in severities if severity > 0
    ]


def fitting_detector(checkpoint: Path, data: FaceDataModule) -> TokenDetector:
    """An `OcclusionDetector` checkpoint's model. Raises `UserError` where it reads pictures of another kind."""
    detector = load_detector(checkpoint)
    reads = (detector.encoder.image_size, detector.encoder.grid)
    if reads != (data.image_size, data.grid):
        raise UserError(
            f"{checkpoint} reads {reads[0]} pixels in a grid of {reads[1]}, the models here {data.image_size} in one "
            f"of {data.grid}: train a detector with their data.image_size and data.grid"
        )
    return detector


@torch.inference_mode()
def sweep(
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
        task = progress.add_task("occlusion sweep", total=len(SPLITS) * len(specs))
        for split in SPLITS:
            folder = run_dir / "predictions" / split
            _write_labels(data, split, folder)
            for spec in specs:
                progress.update(task, description=f"{split}: {spec.kind} {spec.severity:g}")
                _sweep_cell(methods, data, split, spec, folder, device, detector)
                progress.advance(task)
    quality = run_dir / "predictions" / "test" / "mask_quality.parquet"
    if detector is not None and not quality.exists():
        write_parquet(quality, mask_quality(detector, data, specs, device))
    named = [method for method in methods if method.mask_source != "blind" and method.severity is None]
    _write_examples(named, data, specs, run_dir / "predictions" / "test", device)


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


def _sweep_cell(
    methods: Sequence[Method],
    data: FaceDataModule,
    split: str,
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
    for batch in data.ladder_dataloader(split, spec):
        columns["sample_id"].append(batch.sample_id.numpy())
        columns["subject"].append(subjects[batch.subject.numpy()])
        columns["hidden"].append((~batch.visible).float().mean(1).numpy())  # True = visible
        regions.append(region_hidden_share(batch.visible.numpy(), data.aus))  # (B, A)
        on_device = FaceBatch(*(field.to(device) for field in batch))
        told = {"none": on_device, "oracle": on_device}
        if detector is not None and any(method.mask_source == "blind" for method in todo):
            told["blind"] = on_device._replace(visible=detector.visible(on_device.image))
        for method in todo:
            probabilities[method].append(method.predict(told[method.mask_source]).float().cpu().numpy())
    table = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    names = [au_name(au) for au in data.aus]
    shares = pd.DataFrame(np.concatenate(regions), columns=names)
    shares.insert(0, "sample_id", table["sample_id"])
    regions = folder / "regions" / f"{spec.kind}-{spec.severity:.2f}.parquet"
    write_parquet(regions, shares.drop_duplicates("sample_id"))
    for method in todo:
        values = pd.DataFrame(np.concatenate(probabilities[method]), columns=names)
        write_parquet(files[method], pd.concat([table, values], axis=1).drop_duplicates("sample_id"))


def _cell_path(folder: Path, method: Method, spec: OcclusionSpec) -> Path:
    return folder / f"{method.name}-{method.mask_source}" / f"{spec.kind}-{spec.severity:.2f}.parquet"


def _write_labels(data: FaceDataModule, split: str, folder: Path) -> None:
    rows = getattr(data.split, split)
    table = pd.DataFrame(data.store.column("labels")[rows], columns=[au_name(au) for au in data.aus])
    table.insert(0, "sample_id", data.store.column("sample_id")[rows])
    table.insert(1, "subject", data.store.column("subject")[rows])
    write_parquet(folder / "labels.parquet", table)


def _write_examples(
    methods: Sequence[Method],
    data: FaceDataModule,
    specs: Sequence[OcclusionSpec],
    folder: Path,
    device: torch.device,
) -> None:
    """A few test faces of different people under every occlusion, with what each method says of them.

    `reconstruction` is the picture a method that fills the hidden part in reads; None where nothing is hidden.
    """
    path = folder / "examples.parquet"
    if path.exists():
        return
    names = [au_name(au) for au in data.aus]
    fill_in = next((method.reads for method in methods if method.reads is not None), None)
    rows = data.split.test[np.linspace(0, len(data.split.test) - 1, EXAMPLE_FACES).astype(int)]
    dataset = data.dataset(augment=False)
    records = []
    for spec in specs:
        for row in rows:
            batch = FaceBatch(*(field[None].to(device) for field in dataset[int(row), spec]))
            said = {
                method.name: _named(names, method.predict(batch)[0].float().tolist()) for method in methods
            }
            hides = not bool(batch.visible.all())  # True = visible
            records.append(
                {
                    "kind": spec.kind,
                    "severity": spec.severity,
                    "sample_id": int(batch.sample_id[0]),
                    "jpeg": _example_jpeg(batch.image[0]),
                    "reconstruction": _example_jpeg(fill_in(batch)[0]) if fill_in and hides else None,
                    "probabilities": json.dumps(said),
                    "labels": json.dumps(_named(names, batch.labels[0].tolist())),
                }
            )
    write_parquet(path, pd.DataFrame(records))


def _example_jpeg(picture: Tensor) -> bytes:
    """A uint8 picture (3, H, W) at the size of an example: 96 to 160 pixels."""
    side = max(96, min(160, picture.shape[1]))
    return encode_image(cv2.resize(picture.permute(1, 2, 0).cpu().numpy(), (side, side)), "jpeg85")


def _named(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, values))


def evaluate_checkpoint(
    checkpoint: Path,
    store: Path,
    out: Path,
    *,
    kinds: Sequence[str],
    severities: Sequence[float],
    fold: int | None,
    num_folds: int | None,
    fill: str,
    threshold_rule: ThresholdRule,
    detector: Path | None = None,
) -> None:
    """`fau-mae evaluate`: sweep one checkpoint over a store's fold, write `results.parquet` and print the table.

    The people are divided as they were for the checkpoint's training, if that was on this store, so that thresholds
    are not chosen on people it has learnt; `fold` and `num_folds` go before.
    """
    from rich.console import Console

    loaded = load_au_model(checkpoint)
    split = _trained_split(checkpoint, store)
    split |= {key: value for key, value in (("fold", fold), ("num_folds", num_folds)) if value is not None}
    data = FaceDataModule(
        store,
        **split,
        image_size=loaded.about.faces.image_size,
        grid=loaded.about.faces.grid,
        occlusion=OcclusionConfig(fill=fill),
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = checkpoint.resolve().parent.parent.name or "model"
    method = au_method(name, checkpoint, data.aus, device)
    estimate = fitting_detector(detector, data) if detector else None
    sweep(with_blind([method]) if estimate else [method], data, ladder(kinds, severities), out, estimate)
    results = score_predictions(
        out,
        experiment=name,
        dataset=data.store.info.dataset,
        fold=data.fold,
        seed=data.seed,
        threshold_rule=threshold_rule,
        checkpoints={name: str(checkpoint)},
    )
    write_parquet(out / "results.parquet", results)
    for table in macro_table(results):
        Console(width=100).print(table)
    print(f"predictions and results.parquet are in {out}")


def _trained_split(checkpoint: Path, store: Path) -> dict[str, Any]:
    """How the stage that wrote a checkpoint divided the people of `store`; {} where it was another store's."""
    config = checkpoint.resolve().parent.parent / "config.yaml"
    if not config.is_file():
        return {}
    trained = read_yaml(config)["data"]
    if Path(trained["store"]).resolve() != store.resolve():
        return {}
    return {key: trained[key] for key in ("fold", "num_folds", "val_share", "seed")}
