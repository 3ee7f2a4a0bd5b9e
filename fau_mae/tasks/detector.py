"""OcclusionDetector: learn to tell hidden tokens from the picture, so that no method needs to be given a mask."""

from typing import Any

import lightning as L
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import CatMetric
from torchmetrics.classification import BinaryAUROC

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.tasks.optim import OptimConfig, configure
from fau_mae.tasks.pretrain import reseed_step
from fau_mae.tasks.sharding import shard
from fau_mae.weights.checkpoints import start_encoder_from


class OcclusionDetector(L.LightningModule):
    """Binary cross-entropy of each token's being hidden; the suite's own masks are the truth, and need no labels.

    Let the data module draw many kinds and `fill: mixed`: who has seen grey patches only finds nothing else.

    After each validation the model's threshold is set so that `false_alarms` of the tokens of whole validation faces
    are taken for hidden. At the likelier of the two it would be many more: training shows few whole faces.

    Args:
        size, stem, drop_path: of the encoder.
        init_from: file or hub name of weights whose encoder this training starts from.
        false_alarms: share of a whole face's tokens that may be taken for hidden, in 0-1.
        optim: optimiser settings.
    """

    monitor = ("val/patch_auroc", "max")  # what the best checkpoint is best in
    model: TokenDetector  # built by `configure_model`

    def __init__(
        self,
        size: str = "base",
        stem: str = "linear",
        drop_path: float = 0.0,
        init_from: str | None = None,
        false_alarms: float = 0.02,
        optim: OptimConfig = OptimConfig(),  # noqa: B008 - never changed in place
    ):
        super().__init__()
        self.optim, self.init_from, self.false_alarms = optim, init_from, false_alarms
        self.recipe: dict[str, Any] = {"size": size, "stem": stem, "drop_path": drop_path}
        self.patch_auroc = BinaryAUROC(thresholds=512)  # bins: an epoch's tokens need not be kept
        self.whole_faces = CatMetric()  # logits of their tokens

    def configure_model(self) -> None:
        """Build the model for the data module's faces; weights of `init_from` unless a checkpoint is to follow."""
        if hasattr(self, "model"):
            return
        if not 0 <= self.false_alarms <= 1:
            raise UserError(f"model.false_alarms is a share in 0-1, not {self.false_alarms}")
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.recipe |= {"image_size": data.image_size, "grid": data.grid}
        self.model = TokenDetector(**self.recipe)
        if self.init_from is not None and self.trainer.ckpt_path is None:
            start_encoder_from(self.model.encoder, self.init_from)
        shard(self, [self.model])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["fau_mae"] = {"kind": "detector", "recipe": self.recipe}

    def forward(self, batch: FaceBatch) -> Tensor:
        """Logits of being hidden (B, N), from `batch.image` alone."""
        return self.model(batch.image)

    def on_train_batch_start(self, batch: FaceBatch, batch_idx: int) -> None:
        reseed_step(self, batch_idx)

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        hidden = ~batch.visible  # True = visible
        loss = F.binary_cross_entropy_with_logits(self(batch), hidden.float())
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=False, sync_dist=True)
        return loss

    def validation_step(self, batch: FaceBatch, _: int) -> None:
        self.patch_auroc.update(self(batch).sigmoid().flatten(), (~batch.visible).flatten().long())
        self.whole_faces.update(self.model(batch.clean).flatten())

    def on_validation_epoch_end(self) -> None:
        logits = self.whole_faces.compute().sort().values
        self.model.threshold.copy_(logits[int((1 - self.false_alarms) * (len(logits) - 1))])
        self.whole_faces.reset()
        self.log("val/threshold", self.model.threshold)
        self.log("val/patch_auroc", self.patch_auroc.compute(), prog_bar=True)
        self.patch_auroc.reset()

    def configure_optimizers(self) -> Any:
        return configure(self, self.optim, self.trainer)
