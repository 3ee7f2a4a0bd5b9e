"""AUTask: what the teacher and the student share: the AU model, its loss weights, validation and optimiser."""

from math import isnan
from typing import Annotated

from torch import Tensor, nn

from data_modules.batch import FaceBatch, FaceShape
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.facs import au_name
from data_modules.ranges import FROM_0, check_arguments
from fau_mae.losses import AULoss, AULossConfig
from fau_mae.models.au_model import AUModel, AUModelConfig
from fau_mae.models.au_output import AUOutput
from fau_mae.models.heads import HEADS
from fau_mae.tasks.face_metrics import AUMetrics, IntensityMetrics
from fau_mae.tasks.optim import OptimConfig
from fau_mae.tasks.stage import Stage
from fau_mae.weights.checkpoints import start_from
from fau_mae.weights.description import Description


class AUTask(Stage):
    """Train an `AUModel` on batches of faces. Teacher and Student say what it may see and what it learns from.

    Args:
        net: of the `AUModel`.
        intensity_weight: weight of the intensities' loss, where `net.intensity` is not `none`.
        init_from: file or hub name of weights to start from, see `Stage`: their encoder, and their head where they
            have one, whose AUs are taken by name.
        loss: how predictions are judged against the labels.
        optim: optimiser settings.
    """

    kind = "au"
    monitor = ("val/auroc", "max")
    net: AUModelConfig
    model: AUModel
    au_loss: AULoss

    def __init__(
        self,
        net: AUModelConfig = AUModelConfig(),  # noqa: B008 - frozen
        intensity_weight: Annotated[float, FROM_0] = 1.0,
        init_from: str | None = None,
        loss: AULossConfig = AULossConfig(),  # noqa: B008 - never changed in place
        optim: OptimConfig = OptimConfig(),  # noqa: B008 - never changed in place
    ):
        super().__init__(net, init_from, optim)
        check_arguments(AUTask.__init__, "model", locals())
        self.loss, self.intensity_weight = loss, intensity_weight
        self.val_metrics = AUMetrics()
        self.val_intensity = IntensityMetrics()

    def judge_by(self, data: FaceDataModule) -> None:
        if self.net.intensity != "none" and not data.has_intensities():
            raise UserError("net.intensity is set, but the store holds no intensities: leave it at none")
        self.au_loss = AULoss(self.loss, data.prevalence())

    def learns_without_labels(self) -> bool:
        """Whether there is something to learn from faces without a label of any AU."""
        return self.net.intensity != "none"

    def check_training(self, data: FaceDataModule) -> None:
        rates = dict(zip(map(au_name, data.aus), data.prevalence().tolist()))
        lacks = {
            "never labelled": [au for au, rate in rates.items() if isnan(rate)],
            "always absent": [au for au, rate in rates.items() if rate == 0],
            "always present": [au for au, rate in rates.items() if rate == 1],
        }
        where = f"{data.store.path}, fold {data.fold}"
        if len(lacks["never labelled"]) == len(rates) and not self.learns_without_labels():
            raise UserError(
                f"{where}: no face to train on has a label of any AU, so there is nothing to learn"
            )
        said = [f"{', '.join(aus)} {how}" for how, aus in lacks.items() if aus]
        if self.global_rank == 0 and said:
            print(f"warning: {where}: among the faces to train on, {'; '.join(said)}: this cannot be learnt")
        known = data.known("labels")[data.split.validation] >= 0
        if self.global_rank == 0 and not known.any():
            print(
                f"warning: {where}: no validation face has a label, so best.ckpt is no better than last.ckpt"
            )

    def build(self, faces: FaceShape) -> list[nn.Module]:
        self.model = AUModel(self.net, faces)
        if self.loss.edge_states and not self.model.head.tells_edge_states:
            telling = [
                name for name, head in HEADS.items() if getattr(head.build, "tells_edge_states", False)
            ]
            raise UserError(
                f"model.loss.edge_states needs a head that tells them: net.head={'|'.join(telling)}"
            )
        for parameter in self.model.head.untrained(bool(self.loss.edge_states)):
            parameter.requires_grad_(False)  # nothing trains it, and DDP waits for all that wants
        if self.about is not None and (prevalence := self.about.data.get("prevalence")):
            self.model.set_prior(prevalence)
        return [self.model]

    def start(self, source: str) -> Description | None:
        assert self.about is not None
        return start_from(self.model, self.about.aus, source)

    def forward(self, batch: FaceBatch) -> AUOutput:
        """What this method predicts from what it may see; `batch.visible` (B, N), True = visible."""
        return self.model(batch.image, batch.visible if self.uses_mask else None)

    def logged(self) -> set[str]:
        learns = self.net.intensity != "none"
        names = {
            f"val/{name}" for name in (*self.val_metrics.names, *(self.val_intensity.names if learns else ()))
        }
        return super().logged() | names | ({"train/au", "train/intensity"} if learns else set())

    def predictions(self, batch: FaceBatch) -> Tensor:
        """Probabilities (B, A)."""
        return self(batch).logits.sigmoid()

    def label_losses(self, output: AUOutput, batch: FaceBatch) -> dict[str, Tensor]:
        """What `output` owes to the labels and, where they are learned, to the intensities, already weighted."""
        states = self.model.head.edge_states(output.edges)
        losses = {"au": self.au_loss(output.logits, batch.labels, states)}
        if self.model.intensity is not None:
            loss = self.model.intensity.loss(output.nodes, batch.intensity)
            losses["intensity"] = self.intensity_weight * loss
        return losses

    def validation_step(self, batch: FaceBatch, _: int) -> None:
        output = self(batch)
        self.val_metrics.update(output.logits.sigmoid(), batch.labels, batch.sample_id)
        if self.model.intensity is not None:
            self.val_intensity.update(self.model.intensity(output.nodes), batch.intensity, batch.sample_id)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _log_metrics(self, split: str) -> None:
        for metrics in (self.val_metrics, self.val_intensity):
            if metrics is self.val_intensity and self.model.intensity is None:
                continue
            for name, value in metrics.compute().items():
                self.log(f"{split}/{name}", value, prog_bar=name == "auroc")
            metrics.reset()
