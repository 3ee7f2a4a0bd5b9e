"""Example faces: a few test faces under every occlusion, with what each method says of them."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.face_data import FaceDataModule
from data_modules.facs import au_name
from data_modules.files import write_parquet
from data_modules.occlusion.spec import OcclusionSpec
from data_modules.stores.store import encode_image
from fau_mae.evaluation.methods import Method

EXAMPLE_FACES = 4


def write_examples(
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
