"""MaskedEncoder: a vision transformer that runs on the visible tokens only. Masks: True = visible.

Shapes: B batch, N = grid² patches, V visible tokens, D width, P = 3·patch² numbers of a patch.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import torch
from timm.layers import Attention, build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from data_modules.batch import FaceShape
from data_modules.errors import UserError
from data_modules.ranges import BELOW_1, check_fields
from fau_mae.models.backbone.patches import patchify
from fau_mae.models.backbone.stems import STEMS


class Size(NamedTuple):
    """Width, depth and attention heads of the encoder, and of the decoder that pre-trains it."""

    dim: int
    depth: int
    heads: int
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int


# base, large and huge are those of "Masked Autoencoders Are Scalable Vision Learners" (He et al., 2022).
SIZES = {
    "nano": Size(48, 2, 3, 32, 1, 2),
    "micro": Size(128, 3, 4, 96, 2, 4),
    "mini": Size(192, 6, 3, 128, 2, 4),
    "tiny": Size(192, 12, 3, 192, 4, 3),
    "small": Size(384, 12, 6, 256, 4, 8),
    "base": Size(768, 12, 12, 512, 8, 16),
    "large": Size(1024, 24, 16, 512, 8, 16),
    "huge": Size(1280, 32, 16, 512, 8, 16),
}


@dataclass(frozen=True)
class BackboneConfig:
    """The encoder, whatever stands behind it.

    Args:
        size: key of `SIZES`.
        stem: key of `STEMS`: `linear`, as MAE has it, or `gradient`, which learns from few pictures.
        stem_options: what that stem may be told; none of the two takes any.
        drop_path: stochastic depth rate of the last block; it rises linearly from 0 at the first.
    """

    size: str = "base"
    stem: str = "linear"
    stem_options: dict[str, Any] = field(default_factory=dict)
    drop_path: Annotated[float, BELOW_1] = 0.0

    def __post_init__(self) -> None:
        """Raises `UserError` for an unknown name or option, and for a value out of its range."""
        check_fields(self, "net")
        if not isinstance(self.size, str) or self.size not in SIZES:
            raise UserError(f"net.size is {self.size!r}: use one of {', '.join(SIZES)}")
        STEMS.options(self.stem, self.stem_options)

    @property
    def numbers(self) -> Size:
        """Widths, depths and heads of `size`."""
        return SIZES[self.size]


class Latents(NamedTuple):
    """What the encoder makes of the visible patches, without the class token."""

    tokens: Tensor  # (B, V, D) output of the final LayerNorm
    positions: Tensor  # (B, V) int64, the patch each token comes from
    layers: list[Tensor]  # (B, V, D) output of every block, first to last
    valid: Tensor | None  # (B, V) bool, False = padding; None where nothing is padded
    cls: Tensor  # (B, D) class token


def visible_positions(visible: Tensor) -> tuple[Tensor, Tensor | None]:
    """Mask (B, N), True = visible -> positions (B, V) of the visible patches, and which of them are real.

    V is the largest visible count of the batch. Rows with fewer are padded with hidden positions, marked
    False in the second result (B, V); it is None where every row has V visible patches.
    """
    counts = visible.sum(1)
    V = int(counts.max())
    order = torch.argsort((~visible).to(torch.uint8), dim=1, stable=True)  # (B, N), visible first, in order
    positions = order[:, :V]
    if int(counts.min()) == V:
        return positions, None
    return positions, torch.gather(visible, 1, positions)


class MaskedEncoder(nn.Module):
    """A ViT in MAE's form: fixed sin-cos positions added to the patches, hidden ones dropped, class token first.

    Args:
        config: size, stem and stochastic depth.
        faces: pixels of a side and patches of a side, so N = grid²; the second must divide the first.
    """

    pos_embed: Tensor  # (1, N, D)
    pixel_mean: Tensor  # (1, 3, 1, 1), of 0-255
    pixel_std: Tensor  # (1, 3, 1, 1)

    def __init__(self, config: BackboneConfig, faces: FaceShape):
        super().__init__()
        size, grid = config.numbers, faces.grid
        if faces.image_size % grid:
            raise UserError(f"image_size {faces.image_size} is not a multiple of grid {grid}")
        self.dim, self.depth, self.heads = size.dim, size.depth, size.heads
        self.image_size, self.grid, self.patch = faces.image_size, grid, faces.image_size // grid
        self.stem = STEMS.build(config.stem, config.stem_options, self.patch, self.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.dim))
        self.register_buffer("pos_embed", build_sincos2d_pos_embed([grid, grid], self.dim)[None])  # (1, N, D)
        rates = torch.linspace(0, config.drop_path, self.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            Block(self.dim, self.heads, 4, qkv_bias=True, drop_path=rate) for rate in rates
        )
        prefer_explicit_attention(self.blocks)
        self.norm = nn.LayerNorm(self.dim)
        self.register_buffer("pixel_mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255)
        self.register_buffer("pixel_std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) * 255)
        nn.init.normal_(self.cls_token, std=0.02)
        self.apply(_init_linear)

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 (or float 0-255) RGB -> zero mean, unit variance over ImageNet; (B, 3, H, W)."""
        return (image.float() - self.pixel_mean) / self.pixel_std

    def patches(self, image: Tensor) -> Tensor:
        """uint8 pictures (B, 3, H, W) -> normalised patches (B, N, P)."""
        return patchify(self.normalise(image), self.patch)

    def patches_at(self, image: Tensor, places: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), places (B, V) int64 -> the normalised patches there, (B, V, P)."""
        patches = patchify(image, self.patch)  # (B, N, P)
        return self._normalise_patches(patches.gather(1, places[..., None].expand(-1, -1, patches.shape[-1])))

    def _normalise_patches(self, patches: Tensor) -> Tensor:
        """`normalise` after `patchify`: (B, V, P) of 0-255 -> (B, V, P), the same numbers to the bit."""
        channels = patches.unflatten(-1, (3, -1)).float()  # (B, V, 3, p²)
        return ((channels - self.pixel_mean.view(3, 1)) / self.pixel_std.view(3, 1)).flatten(2)

    def forward(self, image: Tensor, visible: Tensor | None = None) -> Latents:
        """Encode the visible patches.

        Args:
            image: (B, 3, H, W) uint8, RGB.
            visible: (B, N) bool, True = visible; None = all. Hidden patches never reach the transformer,
                so cost falls with what is hidden. A face of which none is visible has the class token alone.
        """
        if visible is None:
            return self._encode(*self._everywhere(image), None)
        positions, valid = visible_positions(visible)  # (B, V)
        return self._encode(self.patches_at(image, positions), positions, valid)  # only those that are read

    def dense(self, image: Tensor, visible: Tensor) -> Latents:
        """As `forward`, the same to rounding: all N tokens are carried along, hidden ones barred as keys.

        It saves nothing; its shapes do not depend on the mask, as exported models ask for.
        """
        return self._encode(*self._everywhere(image), visible)

    def _everywhere(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """All normalised patches (B, N, P), and their places (B, N)."""
        places = torch.arange(self.grid**2, device=image.device).expand(image.shape[0], -1)
        return self._normalise_patches(patchify(image, self.patch)), places

    def _encode(self, patches: Tensor, positions: Tensor, valid: Tensor | None) -> Latents:
        """Normalised patches (B, V, P) from `positions` (B, V); `valid` (B, V), False = padding."""
        if not patches.shape[1]:
            # Nothing is visible. The stem still runs, on a blank that is dropped: every weight keeps its gradient.
            x = self.stem(F.pad(patches, (0, 0, 0, 1)))[:, :0]  # (B, 0, D)
        else:
            x = self.stem(patches) + self.pos_embed[0][positions]  # (B, V, D)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)  # (B, 1+V, D)
        attn_mask = None
        if valid is not None:
            attn_mask = barring(valid, x)
        layers = []
        for block in self.blocks:
            x = block(x, attn_mask=attn_mask)
            layers.append(x[:, 1:])
        x = self.norm(x)
        return Latents(x[:, 1:], positions, layers, valid, x[:, 0])


def barring(valid: Tensor, x: Tensor) -> Tensor:
    """What bars padding as keys, added to attention scores: (B, V) bool, False = padding -> (B, 1, 1, 1+V).

    The class token, which comes first, is always real. `x`: of the scores' type and device.
    """
    real = F.pad(valid, (1, 0), value=True)[:, None, None]  # (B, 1, 1, 1+V)
    return torch.zeros_like(real, dtype=x.dtype, device=x.device).masked_fill(~real, float("-inf"))


def prefer_explicit_attention(blocks: nn.ModuleList) -> None:
    """Without a GPU, plain batched products: the fused kernel's backward is slower there (benchmarks/training.py)."""
    if not torch.cuda.is_available():
        for module in blocks.modules():
            if isinstance(module, Attention):
                module.fused_attn = False  # type: ignore[misc]  # final for TorchScript only


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
