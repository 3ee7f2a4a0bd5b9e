"""MAEPretraining: learn the backbone's latents by filling in hidden patches of unlabelled faces."""

import torch
from torch import Tensor, nn

from data_modules.batch import FaceBatch, FaceShape
from fau_mae.models.backbone.decoders import TARGETS, MAEConfig, build_decoder
from fau_mae.models.backbone.decoders.masked_decoder import MaskedDecoder
from fau_mae.models.backbone.encoder import MaskedEncoder
from fau_mae.models.backbone.reconstruction import reconstruct, reconstruction_losses
from fau_mae.tasks.optim import OptimConfig
from fau_mae.tasks.stage import Stage
from fau_mae.weights.checkpoints import start_mae_from
from fau_mae.weights.description import Description


class MAEPretraining(Stage):
    """Masked autoencoding (He et al., 2022): encode what is visible, predict what is hidden.

    The masks come with the batch: let the data module hide random `patches` at severity .75 in every step.

    Args:
        net: of the `MaskedEncoder`, the decoder of its size, and what is predicted.
        init_from: file or hub name of weights to go on from, see `Stage`.
        optim: optimiser settings.
    """

    kind = "mae"
    monitor = ("val/loss", "min")
    net: MAEConfig
    encoder: MaskedEncoder
    decoder: MaskedDecoder

    def __init__(
        self,
        net: MAEConfig = MAEConfig(),  # noqa: B008 - frozen
        init_from: str | None = None,
        optim: OptimConfig = OptimConfig(lr=1.5e-3, beta2=0.95),  # noqa: B008 - never changed in place
    ):
        super().__init__(net, init_from, optim)

    def build(self, faces: FaceShape) -> list[nn.Module]:
        self.encoder = MaskedEncoder(self.net, faces)
        self.decoder = build_decoder(self.encoder, self.net)
        return [self.encoder, self.decoder]

    def start(self, source: str) -> Description | None:
        return start_mae_from(self.encoder, self.decoder, source)

    def forward(self, batch: FaceBatch, share: float = 1.0) -> dict[str, Tensor]:
        """Losses of the hidden patches, or of a random `share` of them, and `loss`, their sum.

        `batch.visible` (B, N), True = visible.
        """
        losses = reconstruction_losses(self.encoder, self.decoder, batch.clean, batch.visible, share)
        return {**losses, "loss": torch.stack(list(losses.values())).sum()}

    def logged(self) -> set[str]:
        parts = [part for part, told in zip(("pixels", "gradients"), TARGETS[self.net.target]) if told]
        return {f"{split}/{name}" for split in ("train", "val") for name in ("loss", *parts)}

    def predictions(self, batch: FaceBatch) -> Tensor:
        """The faces with their hidden patches filled in, (B, 3, H, W) uint8."""
        return reconstruct(self.encoder, self.decoder, batch.image, batch.visible)

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        losses = self(batch, self.decoder.share)
        self.log_losses(losses)
        return losses["loss"]

    def validation_step(self, batch: FaceBatch, _: int) -> None:
        for name, value in self(batch).items():
            self.log(
                f"val/{name}", value, prog_bar=name == "loss", sync_dist=True, batch_size=len(batch.image)
            )
