"""Student: reads visible patches, as a rule, and learns from labels and from the teacher's nodes, edges and logits."""

from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.files import file_hash
from data_modules.ranges import FROM_0, SHARE, check_arguments
from fau_mae.distillation import LOSSES, DistilConfig, mean_output
from fau_mae.models.au_model import AUModel
from fau_mae.models.au_output import AUOutput, of_aus
from fau_mae.models.backbone.encoder import Latents
from fau_mae.models.latents.completion import latent_loss
from fau_mae.tasks.au_task import AUTask
from fau_mae.tasks.kept_targets import KeptTargets
from fau_mae.weights.by_au import rows_of
from fau_mae.weights.checkpoints import load_au_model
from fau_mae.weights.shipped import file_of


class Student(AUTask):
    """L = L_AU + ramp·(node·L_node + edge·L_edge + logit·L_logit + latent·L_latent), against the frozen teacher.

    The teacher reads the whole clean face.

    With all weights 0 there is no teacher and this is the rival `dropped`; without mask, `augmented_distilled`; with
    pseudo-labels in place of the weights, `self_trained`.

    Args:
        teacher: checkpoint of a `Teacher` that knows the store's AUs, matched by name; needed when a weight is above 0,
            and for pseudo-labels.
        uses_mask: whether it is told what is hidden, and drops it; else it reads every token of the occluded picture.
        pseudo_labels: how sure the teacher must be, from .5 to 1, for its answer to stand in for an unknown label:
            present from that probability on, absent from 1 − it down; 0 = unknown labels count nothing.
        node_weight, edge_weight, logit_weight, latent_weight: weights of the distillation terms; the last compares
            completed latents with the teacher's.
        views: severities of further masks (random patches) under which each step reads the same faces; the loss is
            the mean over masks, and the teacher reads the faces once.
        targets: folder that keeps the teacher's answers for other students of the same teacher, data and seed, up to
            `targets_gb` gigabytes; null = every batch is asked anew. The training is the same to the bit.
        targets_gb: bound of that folder.
        distil: how the distillation terms measure.
    """

    def __init__(
        self,
        *args,
        teacher: Path | None = None,
        uses_mask: bool = True,
        node_weight: Annotated[float, FROM_0] = 1.0,
        edge_weight: Annotated[float, FROM_0] = 1.0,
        logit_weight: Annotated[float, FROM_0] = 1.0,
        latent_weight: Annotated[float, FROM_0] = 0.0,
        pseudo_labels: Annotated[float, SHARE] = 0.0,
        views: Annotated[tuple[float, ...], SHARE] = (),
        targets: Path | None = None,
        targets_gb: Annotated[float, FROM_0] = 4.0,
        distil: DistilConfig = DistilConfig(),  # noqa: B008 - never changed in place
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        check_arguments(Student.__init__, "model", locals())
        self.uses_mask, self.pseudo_labels = uses_mask, pseudo_labels
        self.weights = {
            "node": node_weight,
            "edge": edge_weight,
            "logit": logit_weight,
            "latent": latent_weight,
        }
        self.views = tuple(views)
        self.distil = distil
        self.teacher_path = teacher
        self.targets, self.targets_gb = targets, targets_gb
        self._kept: KeptTargets | None = None
        self._teacher: list[AUModel] = []  # in a list: not a submodule, so neither trained nor saved
        self._teacher_rows: list[int] | None = (
            None  # where its logits have this store's AUs; None = as they are
        )

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if any(self.weights.values()) or self.pseudo_labels:
            self._teacher = [self._load_teacher()]
            if self.targets is not None and not self.weights["latent"]:  # latents would be too many bytes
                self._kept = self._keep_targets(Path(self.targets))

    def _keep_targets(self, folder: Path) -> KeptTargets:
        assert self.teacher_path is not None
        asked = (
            file_hash(file_of(self.teacher_path)),
            self._teacher_rows,
            self.distil.mirrored,
            self.trainer.precision,
            self.device.type,
            torch.__version__,
        )
        return KeptTargets(folder, asked, self.targets_gb * 1e9)

    def _load_teacher(self) -> AUModel:
        assert self.teacher_path is not None and self.about is not None
        loaded = load_au_model(Path(self.teacher_path))
        self.about = self.about.after(loaded.about)
        rows = rows_of(self.about.aus, loaded.aus, self.teacher_path)
        self._teacher_rows = None if rows == list(range(len(loaded.aus))) else rows
        encoders = [
            (model.encoder.dim, model.encoder.depth, model.encoder.grid)
            for model in (loaded.model, self.model)
        ]
        if self.weights["latent"] and encoders[0] != encoders[1]:
            raise UserError("model.latent_weight needs a teacher of the student's size and grid")
        return loaded.model.to(self.device).eval().requires_grad_(False)

    def check_training(self, data: FaceDataModule) -> None:
        super().check_training(data)
        if self.weights["latent"] and self.net.hidden == "dropped":
            raise UserError("model.latent_weight compares completed latents: set net.hidden=completed")
        if not self.uses_mask and (self.views or self.weights["latent"]):
            raise UserError("model.views and model.latent_weight need a mask: leave model.uses_mask=true")
        if self.pseudo_labels and self.pseudo_labels < 0.5:
            raise UserError(
                f"model.pseudo_labels is {self.pseudo_labels}: a probability in 0.5-1, or 0 for none"
            )
        if self.teacher_path is None and (any(self.weights.values()) or self.pseudo_labels):
            raise UserError(
                "model.teacher is missing: distillation and pseudo-labels need a teacher's checkpoint (or weights of 0)"
            )

    def learns_without_labels(self) -> bool:
        return super().learns_without_labels() or any(self.weights.values()) or self.pseudo_labels > 0

    def logged(self) -> set[str]:
        return super().logged() | {
            "train/au",
            *(f"train/{name}" for name, weight in self.weights.items() if weight),
        }

    def training_step(self, batch: FaceBatch, _: int) -> Tensor:
        target = self._target(batch.clean) if self._teacher else None
        if target is not None and self.pseudo_labels:
            batch = batch._replace(labels=self._filled(batch.labels, target[0].logits.sigmoid()))
        views = [batch, *(self._view(batch, severity) for severity in self.views)]
        each = [self._losses(view, target) for view in views]
        losses = {name: torch.stack([terms[name] for terms in each]).mean() for name in each[0]}
        self.log_losses(losses)
        return losses["loss"]

    def _target(self, clean: Tensor) -> tuple[AUOutput, Latents | None]:
        """What the teacher makes of whole clean faces (B, 3, H, W); latents where they are compared."""
        if self._kept is not None:
            key = self._kept.key(clean)
            output = self._kept.find(key, clean.device)
            if output is None:
                output, _ = self._ask(clean)
                self._kept.keep(key, output)
            return output, None
        return self._ask(clean)

    def _ask(self, clean: Tensor) -> tuple[AUOutput, Latents]:
        (teacher,) = self._teacher
        with torch.no_grad():
            output, latents = teacher(clean, with_latents=True)
            if self.distil.mirrored:
                output = mean_output(output, teacher(clean.flip(3)))
            if self._teacher_rows is not None:
                output = of_aus(output, self._teacher_rows)
        return output, latents

    def _filled(self, labels: Tensor, probabilities: Tensor) -> Tensor:
        """Labels (B, A) with the teacher's answers (B, A) in place of unknown ones, where it is sure enough."""
        present, absent = probabilities >= self.pseudo_labels, probabilities <= 1 - self.pseudo_labels
        answers = torch.where(present, 1, torch.where(absent, 0, -1)).to(labels.dtype)
        return torch.where(labels < 0, answers, labels)

    def _view(self, batch: FaceBatch, severity: float) -> FaceBatch:
        """The same faces under random patches; hidden tokens are dropped, so the clean picture serves every mask."""
        N = batch.visible.shape[1]
        order = torch.rand(batch.visible.shape, device=batch.visible.device).argsort(1)  # (B, N)
        return batch._replace(image=batch.clean, visible=order >= round(severity * N))  # True = visible

    def _losses(self, batch: FaceBatch, target: tuple[AUOutput, Latents | None] | None) -> dict[str, Tensor]:
        """All terms of one view, unweighted but for the labels', and `loss`, their weighted sum."""
        visible = batch.visible if self.uses_mask else None
        output, latents = self.model(batch.image, visible, with_latents=True)
        # Labels of a face weigh the same, however many unlabelled faces stand beside it.
        known = {"au": batch.labels >= 0, "intensity": ~batch.intensity.isnan()}
        losses = {
            name: known[name].any(1).float().mean() * loss
            for name, loss in self.label_losses(output, batch).items()
        }
        loss = torch.stack(list(losses.values())).sum()
        if target is not None:
            weights = {name: weight for name, weight in self.weights.items() if weight}
            for name in weights:
                if name == "latent":
                    assert target[1] is not None
                    losses[name] = latent_loss(latents, target[1], batch.visible, self.model.mined)
                else:
                    losses[name] = LOSSES[name](output, target[0], self.distil)
            ramp = self.distil.ramp(self.global_step, int(self.trainer.estimated_stepping_batches))
            loss = loss + ramp * sum(weight * losses[name] for name, weight in weights.items())
        return {**losses, "loss": loss}
