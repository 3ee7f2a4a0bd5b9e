"""AdamW with layer-wise learning rates, a warm-up cosine schedule, and the rule that ties the rate to the batch."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

import lightning as L
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from data_modules.errors import UserError
from data_modules.ranges import BELOW_1, FROM_0, SHARE, check_fields

NO_END = (
    "the learning rate falls towards the end of training, so say when that is: trainer.max_epochs or trainer.max_steps "
    "(trainer.max_time may stop it before)"
)


@dataclass
class OptimConfig:
    """Optimiser settings.

    Args:
        lr: peak learning rate of the last layers, for a step of `reference_batch` faces.
        reference_batch: faces that `lr` is meant for; the rate grows with the faces of a step, see
            `peak_lr`. 0 = `lr` as it stands, whatever the batch.
        weight_decay: AdamW's, on matrices only.
        layer_decay: factor per encoder block towards the picture; 1 = the same rate everywhere.
        warmup_share: share of all steps over which the rate rises from 0.
        beta2: AdamW's second beta; .95 is MAE's, .999 the usual one.
    """

    lr: Annotated[float, FROM_0] = 1e-3
    reference_batch: Annotated[int, FROM_0] = 0
    weight_decay: Annotated[float, FROM_0] = 0.05
    layer_decay: Annotated[float, SHARE] = 1.0
    warmup_share: Annotated[float, SHARE] = 0.1
    beta2: Annotated[float, BELOW_1] = 0.999

    def __post_init__(self) -> None:
        """Raises `UserError` for a value out of its range."""
        check_fields(self, "optim")


def global_batch(trainer: L.Trainer, batch_size: int) -> int:
    """Faces of one optimiser step: `batch_size` per process × processes × batches whose gradients are accumulated."""
    return batch_size * trainer.world_size * trainer.accumulate_grad_batches


def peak_lr(config: OptimConfig, batch: int) -> float:
    """The linear rule: lr × faces of a step / `reference_batch` (Goyal et al., 2017)."""
    return config.lr * batch / config.reference_batch if config.reference_batch else config.lr


def configure(module: nn.Module, config: OptimConfig, trainer: L.Trainer) -> dict[str, Any]:
    """Optimiser and per-step scheduler in Lightning's form, over the parameters that want gradients."""
    if math.isinf(trainer.estimated_stepping_batches):
        raise UserError(NO_END)
    total_steps = int(trainer.estimated_stepping_batches)
    batch_size = trainer.datamodule.batch_size  # type: ignore[attr-defined]
    lr = peak_lr(config, global_batch(trainer, batch_size))
    optimizer = torch.optim.AdamW(
        parameter_groups(module, config, lr),
        lr=lr,
        betas=(0.9, config.beta2),
        fused=_can_fuse(module, trainer),
    )
    warmup = max(1, round(config.warmup_share * total_steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total_steps - warmup))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def parameter_groups(module: nn.Module, config: OptimConfig, lr: float) -> list[dict[str, Any]]:
    """Groups by depth (stem 0, block i at i + 1, everything else last) and by whether decay applies."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    depths = [_depth(name) for name, _ in named]
    last = 1 + max((depth for depth in depths if depth is not None), default=0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for (_, parameter), depth in zip(named, depths):
        key = (last if depth is None else depth, parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * config.layer_decay ** (last - depth),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in groups.items()
    ]


def _depth(name: str) -> int | None:
    """0 for the encoder's stem and class token, i + 1 for its block i, None for what follows."""
    if block := re.search(r"encoder\.blocks\.(\d+)\.", name):
        return int(block[1]) + 1
    return 0 if re.search(r"encoder\.(stem|cls_token)", name) else None


def _can_fuse(module: nn.Module, trainer: L.Trainer) -> bool:
    """Whether one kernel may do the step: not where mixed precision clips, as a fused step unscales by itself."""
    if isinstance(trainer.precision_plugin, MixedPrecision) and trainer.gradient_clip_val:
        return False
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in module.parameters())
