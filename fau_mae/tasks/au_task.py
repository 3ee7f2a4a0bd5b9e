"""AUTask: what the teacher and the student share: the AU model, its loss weights, validation and optimiser."""

from typing import Any, Literal

import lightning as L
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from fau_mae.losses import AULoss, AULossConfig
from fau_mae.metrics import AUMetrics, IntensityMetrics
from fau_mae.models.au_model import AUModel
from fau_mae.models.au_output import AUOutput
from fau_mae.models.heads.me_graphau import MEGraphAU
from fau_mae.tasks.optim import OptimConfig, configure
from fau_mae.tasks.pretrain import reseed_step
from fau_mae.tasks.sharding import shard
from fau_mae.weights.checkpoints import start_from


class AUTask(L.LightningModule):
    """Train an `AUModel` on batches of faces. Teacher and Student say what it may see and what it learns from.

    The faces' AUs, size and grid come from the data module, when training is set up.

    Args:
        size, stem, head, layers, dropout, drop_path, node_width, frozen_norms, intensity: of the `AUModel`.
        intensity_weight: weight of the intensities' loss, where `intensity` is not `none`.
        init_from: file or hub name of weights to start from, see `fau_mae.weights.checkpoints`: their encoder, and
            their head where they have one.
        loss: how predictions are judged against the labels.
        optim: optimiser settings.
    """

    uses_mask: bool  # whether the model is told what is hidden
    monitor = ("val/auroc", "max")  # what the best checkpoint is best in
    model: AUModel  # built by `configure_model`
    au_loss: AULoss

    def __init__(
        self,
        size: str = "base",
        stem: str = "linear",
        head: Literal["query_graph", "me_graphau"] = "query_graph",
        layers: tuple[int, ...] = (-3, -1),
        dropout: float = 0.0,
        drop_path: float = 0.0,
        node_width: int | None = None,
        frozen_norms: bool = False,
        intensity: Literal["none", "regression", "ordinal"] = "none",
        intensity_weight: float = 1.0,
        init_from: str | None = None,
        loss: AULossConfig = AULossConfig(),  # noqa: B008 - never changed in place
        optim: OptimConfig = OptimConfig(),  # noqa: B008 - never changed in place
    ):
        super().__init__()
        self.optim, self.loss = optim, loss
        self.recipe: dict[str, Any] = {
            "size": size,
            "stem": stem,
            "drop_path": drop_path,
            "head": head,
            "layers": tuple(layers),
            "dropout": dropout,
            "node_width": node_width,
            "frozen_norms": frozen_norms,
            "intensity": intensity,
        }
        self.aus: tuple[int, ...] = ()
        self.intensity_weight = intensity_weight
        self.val_metrics = AUMetrics()
        self.val_intensity = IntensityMetrics()
        self.init_from = init_from

    def configure_model(self) -> None:
        """Build the model for the data module's faces; weights of `init_from` unless a checkpoint is to follow."""
        if hasattr(self, "model"):
            return
        if self.loss.edge_states and self.recipe["head"] != "me_graphau":
            raise UserError(
                "model.loss.edge_states needs model.head=me_graphau, which alone tells edge states"
            )
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.recipe["intensity"] != "none" and not data.has_intensities():
            raise UserError("model.intensity is set, but the store holds no intensities: leave it at none")
        self.aus = tuple(data.aus)
        self.recipe |= {"image_size": data.image_size, "grid": data.grid, "regions": data.regions}
        self.model = AUModel(**self.recipe)
        if isinstance(self.model.head, MEGraphAU) and not self.loss.edge_states:
            self.model.head.edge_classifier.requires_grad_(
                False
            )  # nothing trains it, and DDP waits for all that wants
        if self.init_from is not None and self.trainer.ckpt_path is None:
            start_from(self.model, self.init_from)
        self.au_loss = AULoss(self.loss, data.prevalence())
        shard(self, [self.model])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["fau_mae"] = {
            "kind": "au",
            "recipe": self.recipe,
            "aus": self.aus,
            "uses_mask": self.uses_mask,
        }

    def forward(self, batch: FaceBatch) -> AUOutput:
        """What this method predicts from what it may see; `batch.visible` (B, N), True = visible."""
        return self.model(batch.image, batch.visible if self.uses_mask else None)

    def label_losses(self, output: AUOutput, batch: FaceBatch) -> dict[str, Tensor]:
        """What `output` owes to the labels and, where they are learned, to the intensities, already weighted."""
        head = self.model.head
        states = head.edge_states(output.edges) if isinstance(head, MEGraphAU) else None
        losses = {"au": self.au_loss(output.logits, batch.labels, states)}
        if self.model.intensity is not None:
            losses["intensity"] = self.intensity_weight * self.model.intensity.loss(
                output.nodes, batch.intensity
            )
        return losses

    def on_train_batch_start(self, batch: FaceBatch, batch_idx: int) -> None:
        reseed_step(self, batch_idx)

    def validation_step(self, batch: FaceBatch, _: int) -> None:
        output = self(batch)
        self.val_metrics.update(output.logits.sigmoid(), batch.labels, batch.sample_id)
        if self.model.intensity is not None:
            self.val_intensity.update(self.model.intensity(output.nodes), batch.intensity, batch.sample_id)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def test_step(self, batch: FaceBatch, _: int) -> None:
        self.validation_step(batch, _)

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _log_metrics(self, split: str) -> None:
        for metrics in (self.val_metrics, self.val_intensity):
            if metrics is self.val_intensity and self.model.intensity is None:
                continue
            for name, value in metrics.compute().items():
                self.log(f"{split}/{name}", value, prog_bar=name == "auroc")
            metrics.reset()

    def log_losses(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self.log(
                f"train/{name}",
                value.detach(),
                prog_bar=name == "loss",
                on_step=True,
                on_epoch=False,
                sync_dist=True,
            )

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.optim, self.trainer)
