"""OcclusionDetector: learn to tell hidden tokens from the picture, so that no method needs to be given a mask."""

from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import CatMetric
from torchmetrics.classification import BinaryAUROC

from data_modules.batch import FaceBatch, FaceShape
from data_modules.ranges import SHARE, check_arguments
from fau_mae.models.detectors import DetectorConfig, build_detector
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.tasks.optim import OptimConfig
from fau_mae.tasks.stage import Stage
from fau_mae.weights.checkpoints import start_encoder_from
from fau_mae.weights.description import Description


class OcclusionDetector(Stage):
    """Binary cross-entropy of each token's being hidden; the suite's own masks are the truth, and need no labels.

    Let the data module draw many kinds and `fill: mixed`: who has seen grey patches only finds nothing else.

    After each validation the model's threshold is set so that `false_alarms` of the tokens of whole validation faces
    are taken for hidden. At the likelier of the two it would be many more: training shows few whole faces.

    Args:
        net: of the encoder, and which detector stands on it.
        init_from: file or hub name of weights whose encoder this training starts from, see `Stage`.
        false_alarms: share of a whole face's tokens that may be taken for hidden, in 0-1.
        optim: optimiser settings.
    """

    kind = "detector"
    monitor = ("val/patch_auroc", "max")
    net: DetectorConfig
    model: TokenDetector

    def __init__(
        self,
        net: DetectorConfig = DetectorConfig(),  # noqa: B008 - frozen
        init_from: str | None = None,
        false_alarms: Annotated[float, SHARE] = 0.02,
        optim: OptimConfig = OptimConfig(),  # noqa: B008 - never changed in place
    ):
        super().__init__(net, init_from, optim)
        check_arguments(OcclusionDetector.__init__, "model", locals())
        self.false_alarms = false_alarms
        self.patch_auroc = BinaryAUROC(thresholds=512)  # bins: an epoch's tokens need not be kept
        self.whole_faces = CatMetric()  # logits of their tokens

    def build(self, faces: FaceShape) -> list[nn.Module]:
        self.model = build_detector(self.net, faces)
        return [self.model]

    def start(self, source: str) -> Description | None:
        return start_encoder_from(self.model.encoder, source)

    def forward(self, batch: FaceBatch) -> Tensor:
        """Logits of being hidden (B, N), from `batch.image` alone."""
        return self.model(batch.image)

    def logged(self) -> set[str]:
        return super().logged() | {"val/threshold", "val/patch_auroc"}

    def predictions(self, batch: FaceBatch) -> Tensor:
        """Probability of each token's being hidden, (B, N)."""
        return self(batch).sigmoid()

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        hidden = ~batch.visible  # True = visible
        loss = F.binary_cross_entropy_with_logits(self(batch), hidden.float())
        self.log_losses({"loss": loss})
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
