"""MAEPretraining: learn the backbone's latents by filling in hidden patches of unlabelled faces."""

from typing import Any

import lightning as L
import torch
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.occlusion.spec import keyed_generator
from fau_mae.models.backbone.decoder import MaskedDecoder, reconstruction_loss
from fau_mae.models.backbone.encoder import MaskedEncoder
from fau_mae.tasks.optim import OptimConfig, configure
from fau_mae.tasks.sharding import shard
from fau_mae.weights.checkpoints import start_mae_from


class MAEPretraining(L.LightningModule):
    """Masked autoencoding (He et al., 2022): encode what is visible, decode every patch, judge the hidden ones.

    The masks come with the batch: let the data module hide random `patches` at severity .75 in every step.

    Args:
        size, stem: of the `MaskedEncoder`.
        init_from: file or hub name of weights to go on from, see `fau_mae.weights.checkpoints`.
        optim: optimiser settings.
    """

    monitor = ("val/loss", "min")  # what the best checkpoint is best in
    encoder: MaskedEncoder  # built by `configure_model`
    decoder: MaskedDecoder

    def __init__(
        self,
        size: str = "base",
        stem: str = "linear",
        init_from: str | None = None,
        optim: OptimConfig = OptimConfig(lr=1.5e-3, beta2=0.95),  # noqa: B008 - never changed in place
    ):
        super().__init__()
        self.optim, self.init_from = optim, init_from
        self.recipe: dict[str, Any] = {"size": size, "stem": stem}

    def configure_model(self) -> None:
        """Build encoder and decoder for the data module's faces."""
        if hasattr(self, "encoder"):
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.recipe |= {"image_size": data.image_size, "grid": data.grid}
        self.encoder = MaskedEncoder(**self.recipe)
        self.decoder = MaskedDecoder(self.encoder, self.recipe["size"])
        if self.init_from is not None and self.trainer.ckpt_path is None:
            start_mae_from(self.encoder, self.decoder, self.init_from)
        shard(self, [self.encoder, self.decoder])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["fau_mae"] = {"kind": "mae", "recipe": self.recipe}

    def forward(self, batch: FaceBatch) -> Tensor:
        """Reconstruction loss of the hidden patches; `batch.visible` (B, N), True = visible."""
        pixels, statistics = self.decoder(self.encoder(batch.clean, batch.visible))
        return reconstruction_loss(self.encoder.patches(batch.clean), pixels, statistics, batch.visible)

    def on_train_batch_start(self, batch: FaceBatch, batch_idx: int) -> None:
        reseed_step(self, batch_idx)

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        loss = self(batch)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=False, sync_dist=True)
        return loss

    def validation_step(self, batch: FaceBatch, _: int) -> None:
        self.log("val/loss", self(batch), prog_bar=True, sync_dist=True, batch_size=len(batch.image))

    def configure_optimizers(self) -> Any:
        return configure(self, self.optim, self.trainer)


def reseed_step(module: L.LightningModule, step: int) -> None:
    """Start torch's random stream anew from (seed, epoch, step, rank), so a training can go on from any step."""
    seed = getattr(module.trainer.datamodule, "seed", 0)  # type: ignore[attr-defined]
    stream = keyed_generator("torch", seed, module.current_epoch, step, module.global_rank)
    torch.manual_seed(int(stream.integers(2**63)))
