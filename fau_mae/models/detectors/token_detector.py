"""TokenDetector: which tokens of a picture are hidden, told from the picture alone. Masks: True = visible."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data_modules.batch import FaceShape
from fau_mae.models.backbone.encoder import BackboneConfig, MaskedEncoder


@dataclass(frozen=True)
class TokenDetectorOptions:
    """None."""


class TokenDetector(nn.Module):
    """The encoder reads every token of the occluded picture; a linear layer says of each whether it is hidden.

    What hides a face is seen against the rest of it, hence a transformer and not patch by patch.

    `threshold`, saved with the weights, is the logit from which a token counts as hidden: 0, hidden the likelier, until
    a training sets it by whole faces.

    Args:
        config: of the encoder.
        faces: pixels and tokens of a side.
    """

    threshold: Tensor

    def __init__(
        self,
        config: BackboneConfig,
        faces: FaceShape,
        options: TokenDetectorOptions = TokenDetectorOptions(),
    ):
        super().__init__()
        self.encoder = MaskedEncoder(config, faces)
        self.score = nn.Linear(self.encoder.dim, 1)
        self.register_buffer("threshold", torch.zeros(()))

    def forward(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) uint8 -> logits of being hidden (B, N)."""
        return self.score(self.encoder(image).tokens)[..., 0]

    def visible(self, image: Tensor) -> Tensor:
        """The estimated mask (B, N) bool, True = visible: where the logit of being hidden is below `threshold`."""
        return self(image) < self.threshold
