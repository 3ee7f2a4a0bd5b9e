"""How good an estimated mask is: per kind and severity, on textures and shapes that no training has seen."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from data_modules.face_data import FaceDataModule
from data_modules.occlusion.spec import HELD_OUT_SEED, OcclusionSpec
from fau_mae import metrics
from fau_mae.models.detectors.token_detector import TokenDetector


@torch.inference_mode()
def mask_quality(
    detector: TokenDetector, data: FaceDataModule, specs: Sequence[OcclusionSpec], device: torch.device
) -> pd.DataFrame:
    """One row per occlusion of the test faces, drawn from the held-out pool.

    Columns: kind, severity, patch_auroc (hidden against visible tokens, NaN where all are one or the other), iou
    (of the hidden tokens' estimate, NaN where there is none), hidden and estimated (shares of all tokens).
    """
    rows = []
    for spec in specs:
        scores, truth = [], []
        for batch in data.ladder_dataloader("test", spec._replace(seed=HELD_OUT_SEED)):
            scores.append(detector(batch.image.to(device)).cpu().numpy())
            truth.append(~batch.visible.numpy())  # True = visible
        score, hidden = np.concatenate(scores).ravel(), np.concatenate(truth).ravel()
        estimate = score >= detector.threshold.item()
        ranked = metrics.rankings(score[:, None], hidden[:, None].astype(np.int8))
        union = (estimate | hidden).sum()
        rows.append(
            {
                "kind": spec.kind,
                "severity": spec.severity,
                "patch_auroc": float(metrics.auroc(ranked)[0]),
                "iou": float((estimate & hidden).sum() / union) if union else np.nan,
                "hidden": float(hidden.mean()),
                "estimated": float(estimate.mean()),
            }
        )
    return pd.DataFrame(rows)
