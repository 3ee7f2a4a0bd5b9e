"""MAEPretraining: learn the backbone's latents by filling in hidden patches of unlabelled faces."""

from torch import Tensor, nn

from data_modules.batch import FaceBatch, FaceShape
from fau_mae.models.backbone.decoder import MaskedDecoder, reconstruct, reconstruction_loss
from fau_mae.models.backbone.encoder import BackboneConfig, MaskedEncoder
from fau_mae.tasks.optim import OptimConfig
from fau_mae.tasks.stage import Stage
from fau_mae.weights.checkpoints import start_mae_from
from fau_mae.weights.description import Description


class MAEPretraining(Stage):
    """Masked autoencoding (He et al., 2022): encode what is visible, decode every patch, judge the hidden ones.

    The masks come with the batch: let the data module hide random `patches` at severity .75 in every step.

    Args:
        net: of the `MaskedEncoder` and the decoder of its size.
        init_from: file or hub name of weights to go on from, see `Stage`.
        optim: optimiser settings.
    """

    kind = "mae"
    monitor = ("val/loss", "min")
    encoder: MaskedEncoder
    decoder: MaskedDecoder

    def __init__(
        self,
        net: BackboneConfig = BackboneConfig(),  # noqa: B008 - frozen
        init_from: str | None = None,
        optim: OptimConfig = OptimConfig(lr=1.5e-3, beta2=0.95),  # noqa: B008 - never changed in place
    ):
        super().__init__(net, init_from, optim)

    def build(self, faces: FaceShape) -> list[nn.Module]:
        self.encoder = MaskedEncoder(self.net, faces)
        self.decoder = MaskedDecoder(self.encoder, self.net)
        return [self.encoder, self.decoder]

    def start(self, source: str) -> Description | None:
        return start_mae_from(self.encoder, self.decoder, source)

    def forward(self, batch: FaceBatch) -> Tensor:
        """Reconstruction loss of the hidden patches; `batch.visible` (B, N), True = visible."""
        pixels, statistics = self.decoder(self.encoder(batch.clean, batch.visible))
        return reconstruction_loss(self.encoder.patches(batch.clean), pixels, statistics, batch.visible)

    def predictions(self, batch: FaceBatch) -> Tensor:
        """The faces with their hidden patches filled in, (B, 3, H, W) uint8."""
        return reconstruct(self.encoder, self.decoder, batch.image, batch.visible)

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        loss = self(batch)
        self.log_losses({"loss": loss})
        return loss

    def validation_step(self, batch: FaceBatch, _: int) -> None:
        self.log("val/loss", self(batch), prog_bar=True, sync_dist=True, batch_size=len(batch.image))
