"""KeptTargets: the teacher's answers on disk, so that students of one teacher and seed ask it once for each batch."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from data_modules.errors import UserError
from data_modules.files import write_bytes
from fau_mae.models.au_output import AUOutput

_ENDING = ".safetensors"


class KeptTargets:
    """Answers under what was asked: the bytes of a batch of whole faces, augmented as they are, and by whom.

    A key is of whole batches, whose sums round alike, so a kept answer is the one that asking anew gives on such a
    machine, to the bit. Students that draw other faces, order or augmentation (another seed) never meet it.

    Args:
        folder: of the answers, made when the first is kept; several processes may share it.
        asked: whatever else decides an answer: the teacher's weights, its options, precision and device.
        limit: bytes that the folder may hold; once it is full no more are kept.
    """

    def __init__(self, folder: Path, asked: Iterable[object], limit: float):
        self._folder, self._asked = folder, repr(tuple(map(str, asked))).encode()
        self._room = limit - sum(file.stat().st_size for file in folder.glob(f"*{_ENDING}"))

    def key(self, clean: Tensor) -> str:
        """Of a batch, uint8 (B, 3, H, W)."""
        digest = hashlib.blake2b(self._asked, digest_size=16)
        digest.update(repr(tuple(clean.shape)).encode())
        digest.update(clean.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def find(self, key: str, device: torch.device) -> AUOutput | None:
        """What was kept under a key; None where nothing whole is."""
        try:
            kept = load(self._file(key).read_bytes())
            edges = kept["edges"].to(device)
            first = kept["first_edges"].to(device) if "first_edges" in kept else edges
            logits, nodes, first_nodes = (
                kept[name].to(device) for name in ("logits", "nodes", "first_nodes")
            )
        except (FileNotFoundError, SafetensorError, KeyError):  # not yet, or damaged: asked (again)
            return None
        return AUOutput(logits, nodes, edges, first_nodes, first)

    def keep(self, key: str, output: AUOutput) -> None:
        """Keep an answer, while there is room."""
        if self._room <= 0:
            return
        parts = output._asdict()
        if output.first_edges is output.edges or torch.equal(output.first_edges, output.edges):
            del parts["first_edges"]  # heads that leave edges as they are: half of the bytes
        data = save({name: value.contiguous().cpu() for name, value in parts.items()})
        try:
            write_bytes(self._file(key), data)
        except UserError:  # the disk is full or read-only: what is only kept to save time ends no training
            self._room = 0
        self._room -= len(data)

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}{_ENDING}"
