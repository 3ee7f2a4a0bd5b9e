"""`fau-mae export`: an AU model, or a detector of hidden tokens, as ONNX, which needs no torch. True = visible."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data_modules.errors import UserError
from data_modules.facs import au_name
from data_modules.files import aside, check_file, check_ours
from fau_mae.evaluation.observability import (
    FARTHEST,
    ROUNDING,
    SHARES,
    Decisions,
    region_weights,
)
from fau_mae.evaluation.regions import HIDDEN_FROM
from fau_mae.models.au_model import AUModel
from fau_mae.models.detectors.token_detector import TokenDetector
from fau_mae.weights.checkpoints import load_au_model, load_detector, read_own
from fau_mae.weights.description import Description
from fau_mae.weights.shipped import file_of

TOLERANCE = 1e-4  # of outputs, between torch and the exported model
HIDDEN = (0.0, 0.5, 0.75, 1.0)  # shares of the faces that both are compared on
_MINE = "fau_mae"  # key of the file's metadata


class _ReadAUs(nn.Module):
    """Pictures and masks -> probabilities, nodes and, where the weights know them, decisions and observability."""

    thresholds: Tensor
    weights: Tensor
    regions: Tensor
    shares: Tensor

    def __init__(self, model: AUModel, uses_mask: bool, decisions: Decisions | None):
        super().__init__()
        self.model, self.uses_mask, self.decides = model, uses_mask, decisions is not None
        if decisions is not None:
            self.register_buffer("thresholds", torch.tensor(decisions.thresholds))  # (H, A)
            self.register_buffer("weights", torch.tensor(decisions.weights))  # (A, 5)
            faces = model.faces
            self.register_buffer(
                "regions", torch.from_numpy(region_weights(faces.regions, faces.grid)).float()
            )
            self.register_buffer("shares", torch.tensor(SHARES))

    def forward(self, image: Tensor, visible: Tensor | None = None) -> tuple[Tensor, ...]:
        if self.uses_mask:
            assert visible is not None
            output = self.model.dense(image, visible)
        else:
            output = self.model(image)
        probabilities = output.logits.sigmoid()
        if not self.decides:
            return probabilities, output.nodes
        assert visible is not None
        face = visible.float().mean(1, keepdim=True)  # (B, 1)
        thresholds = self.thresholds[(1 - face - self.shares).abs().argmin(1)]  # (B, A)
        shown = visible.float() @ self.regions.T  # (B, A)
        distance = (output.logits.clamp(-13.8, 13.8) - thresholds.logit(1e-6)).abs().clamp(max=FARTHEST)
        terms = [torch.ones_like(shown), distance, shown, distance * shown, face.expand_as(shown)]
        chance = (torch.stack(terms, -1) * self.weights).sum(-1).sigmoid()
        observable = torch.where(1 - shown >= HIDDEN_FROM - ROUNDING, torch.zeros_like(chance), chance)
        return probabilities, output.nodes, probabilities >= thresholds, observable


class _FindHidden(nn.Module):
    """Pictures -> masks."""

    def __init__(self, detector: TokenDetector):
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> Tensor:
        return self.detector.visible(image)


def export(checkpoint: Path, out: Path) -> str:
    """Write a checkpoint as ONNX and compare it with torch; what it takes and gives, in one line.

    Of an AU model: `image` uint8 (B, 3, H, W) RGB, `visible` bool (B, N) -> `probabilities` (B, A), `nodes` (B, A, d)
    and, of weights that `fau-mae save RUN` wrote, `present` and `observable` (B, A); without `visible` where neither
    model nor decisions take it. Of a detector: `image` -> `visible`. Crop recipe, sizes and AUs stand in the file's
    metadata. Raises `UserError` where the packages are missing, for other checkpoints, and where the file's answers
    differ by more than `TOLERANCE`.
    """
    if out.suffix != ".onnx":
        raise UserError(f"--out {out}: the name must end in .onnx")
    check_file(out, [file_of(checkpoint)])
    check_ours(out, _is_mine)
    onnx, runtime = _packages()
    about, _ = read_own(checkpoint)
    if about.kind == "au":
        loaded = load_au_model(checkpoint)
        known, tells = about.decisions, about.uses_mask
        decisions = Decisions.from_dict(known, len(about.aus)) if known else None
        model: nn.Module = _ReadAUs(loaded.model, tells, decisions)
        inputs = ["image"] + ["visible"] * bool(tells or known)
        outputs = ["probabilities", "nodes"] + ["present", "observable"] * bool(known)
    elif about.kind == "detector":
        model, inputs, outputs = _FindHidden(load_detector(checkpoint)), ["image"], ["visible"]
    else:
        raise UserError(f"{checkpoint} is an autoencoder: export an AU model or a detector")
    given = _examples(about)[: len(inputs)]
    with aside(out) as part:
        _write(model.eval(), given, inputs, outputs, part)
        _describe(onnx, part, about)
        worst = _compare(model, runtime, part, given, inputs)
    takes = ", ".join(f"{name} {_shape(value)}" for name, value in zip(inputs, given))
    return f"{out}: {out.stat().st_size / 1e6:.2f} MB; {takes} -> {', '.join(outputs)}; within {worst:.1g} of torch"


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise UserError(
            f"export needs onnx and onnxruntime ({error}): pip install 'fau-mae[export]'"
        ) from None
    return onnx, onnxruntime


def _examples(about: Description) -> tuple[Tensor, Tensor]:
    """Pictures of noise, and masks that hide each of `HIDDEN`."""
    faces, draws = about.faces, torch.Generator().manual_seed(0)
    count, tokens = 4 * len(HIDDEN), faces.grid**2
    image = torch.randint(0, 256, (count, 3, faces.image_size, faces.image_size), generator=draws)
    hidden = torch.tensor(HIDDEN).repeat(4)[:, None]
    order = torch.rand(count, tokens, generator=draws).argsort(1).argsort(1)
    return image.to(torch.uint8), order >= (hidden * tokens).round()


def _write(
    model: nn.Module, given: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], out: Path
) -> None:
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = tuple({0: batch} for _ in inputs)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.inference_mode(False):
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            model,
            given,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
        assert program is not None
        program.save(str(out))


def _describe(onnx: Any, path: Path, about: Description) -> None:
    faces = about.faces
    said = {
        "kind": about.kind,
        "aus": [au_name(au) for au in about.aus] if about.kind == "au" else [],
        "image_size": faces.image_size,
        "grid": faces.grid,
        "preset": faces.preset,
    }
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {_MINE: json.dumps(said)})
    onnx.save(model, str(path))


def _compare(
    model: nn.Module, runtime: Any, path: Path, given: tuple[Tensor, ...], inputs: Sequence[str]
) -> float:
    """The largest difference of an output; decisions may differ only where a value lies that near its threshold."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows in (slice(0, len(given[0])), slice(1, 4)):
        part = [value[rows] for value in given]
        found = session.run(None, {name: value.numpy() for name, value in zip(inputs, part)})
        with torch.no_grad():
            wanted = model(*part)
        for ours, theirs in zip(wanted if isinstance(wanted, tuple) else (wanted,), found):
            if ours.dtype == torch.bool:
                same = float((ours.numpy() == theirs).mean())
                off = 0.0 if same >= 0.99 else 1 - same
            else:
                off = float(np.abs(ours.numpy() - theirs).max())
            worst = max(worst, off)
    if not worst <= TOLERANCE:
        raise UserError(
            f"{path.name}: its answers differ from torch's by {worst:.2g}: use other versions of torch and onnx"
        )
    return worst


def _shape(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} ({', '.join(['B', *map(str, value.shape[1:])])})"


def _is_mine(path: Path) -> bool:
    """Whether a file that is there was written here; its metadata stands at its end or beginning, as text."""
    try:
        import onnx

        return any(prop.key == _MINE for prop in onnx.load(str(path)).metadata_props)
    except Exception:  # whatever a protobuf of others raises
        return False
