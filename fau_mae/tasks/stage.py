"""Stage: what every training stage is: a model for a data module's faces, weights to start from, a checkpoint that
says what it is. Subclasses say `kind`, `build`, `training_step` and `validation_step`.
"""

from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn

from data_modules.batch import FaceBatch, FaceShape
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.streams import keyed_generator
from fau_mae.models.backbone.encoder import BackboneConfig
from fau_mae.tasks.optim import OptimConfig, configure
from fau_mae.tasks.sharding import shard
from fau_mae.weights.description import KINDS, Description

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # pictures, statistics and losses are kept in 32 bits


class Stage(L.LightningModule):
    """A stage of training, on a `FaceDataModule`.

    The model is built when training is set up, for the AUs, size and grid of the data module's faces; or by
    `load_from_checkpoint`, for those of the checkpoint.

    Args:
        net: the model's options.
        init_from: file, `shipped:NAME` or hub name of weights to start from, see `fau_mae.weights.checkpoints`; with
            `encoder:` before it, only their encoder is taken.
        optim: optimiser settings.
    """

    kind: ClassVar[str]  # what its checkpoints hold, key of `KINDS`
    monitor: ClassVar[tuple[str, str]]  # what the best checkpoint is best in
    uses_mask: bool = False  # whether the model is told what is hidden

    def __init__(self, net: BackboneConfig, init_from: str | None, optim: OptimConfig):
        super().__init__()
        self.net, self.init_from, self.optim = net, init_from, optim
        self.about: Description | None = None  # set when the model is built

    # What a subclass says.

    def build(self, faces: FaceShape) -> list[nn.Module]:
        """Make the modules for these faces -> those that are called as a whole."""
        raise NotImplementedError

    def start(self, source: str) -> Description | None:
        """Start the modules from weights -> what the source says of itself, if anything."""
        raise NotImplementedError

    def judge_by(self, data: FaceDataModule) -> None:
        """Set up what a training needs to know of its data, and refuse what does not go with it."""

    def check_training(self, data: FaceDataModule) -> None:
        """Refuse data that nothing can be learnt from, and say what of it cannot be."""

    def logged(self) -> set[str]:
        """Names of what a training logs, which a callback may watch."""
        return {"train/loss"}

    def predictions(self, batch: FaceBatch) -> Tensor:
        """What `Trainer.predict` gives for B faces, (B, …)."""
        raise NotImplementedError

    # What all stages do.

    def configure_model(self) -> None:
        """Build the model for the data module's faces; weights of `init_from` unless a checkpoint is to follow."""
        if self._trainer is None:  # `load_from_checkpoint`, which goes on with `on_load_checkpoint`
            return
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, FaceDataModule):
            raise UserError(f"{type(self).__name__} needs a FaceDataModule: pass it as `datamodule=`")
        if (precision := getattr(self.trainer, "precision", PRECISIONS[0])) not in PRECISIONS:
            raise UserError(f"trainer.precision={precision} is not supported: use {' or '.join(PRECISIONS)}")
        self.judge_by(data)
        if self.about is not None:
            self._fits(data)
            return
        self.about = Description(
            self.kind, self.net, data.faces, tuple(data.aus), self.uses_mask, trained_on(data)
        )
        roots = self.build(data.faces)
        if self.init_from is not None and self.trainer.ckpt_path is None:
            source = self.start(self.init_from)
            if source is not None:
                _warn_of_test_people(source, data, self.init_from)
                self.about = self.about.after(source)
        shard(self, roots)

    def _fits(self, data: FaceDataModule) -> None:
        """Raises `UserError` where a model that is there already reads other faces than these."""
        assert self.about is not None
        if (self.about.aus, self.about.faces) != (tuple(data.aus), data.faces) and self.kind == "au":
            raise UserError(
                "the model was built for other AUs, sizes or crops than this store's: make a new one"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self.about is not None
        checkpoint["fau_mae"] = self.about.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the model that the checkpoint describes, unless there is one; else see that it is the same."""
        if "fau_mae" not in checkpoint:
            raise UserError("the checkpoint is none of this project's stages")
        described = Description.from_dict(checkpoint["fau_mae"], "the checkpoint")
        if described.kind != self.kind or described.uses_mask != self.uses_mask:
            raise UserError(
                f"the checkpoint holds {KINDS[described.kind]}, which is no {type(self).__name__}'s: load the right one"
            )
        if self.about is None:
            self.about, self.net = described, described.net
            self.build(described.faces)
        elif (described.net, described.aus, *_pixels(described)) != (
            self.about.net,
            self.about.aus,
            *_pixels(self.about),
        ):
            raise UserError(
                "the checkpoint is of another model (net), other AUs, image_size or grid: train on with its own "
                "settings, or start a new stage from it by model.init_args.init_from"
            )
        self.about = self.about.after(described)

    def on_fit_start(self) -> None:
        self.check_training(self.trainer.datamodule)  # type: ignore[attr-defined]

    def on_train_batch_start(self, batch: FaceBatch, batch_idx: int) -> None:
        """Start torch's random stream anew from (seed, epoch, step, rank), so a training can go on from any step."""
        seed = self.trainer.datamodule.seed  # type: ignore[attr-defined]
        stream = keyed_generator("torch", seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(stream.integers(2**63)))

    def test_step(self, batch: FaceBatch, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: FaceBatch, batch_idx: int) -> dict[str, Tensor]:
        """`sample_id` (B,) and `predictions` (B, …) of the stage's model."""
        return {"sample_id": batch.sample_id, "predictions": self.predictions(batch)}

    def log_losses(self, losses: dict[str, Tensor]) -> None:
        """Log the terms of a training step, and `loss`, their weighted sum, on the progress bar too."""
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
        return configure(self, self.optim, self.trainer)


def _pixels(about: Description) -> tuple[int, int]:
    return about.faces.image_size, about.faces.grid


def trained_on(data: FaceDataModule) -> dict[str, Any]:
    """What a checkpoint keeps of its data: the stores, how their people were divided, and their names."""
    subjects = data.store.column("subject")
    people = {
        split: sorted({str(name) for name in subjects[rows]}) for split, rows in data.split._asdict().items()
    }
    return {
        "dataset": data.store.info.dataset,
        "population": data.store.info.population,
        "preset": data.preset,
        "fingerprint": data.store.fingerprint,
        "fold": data.fold,
        "num_folds": data.num_folds,
        "val_share": data.val_share,
        "seed": data.seed,
        "prevalence": data.prevalence().tolist(),  # of each AU, among the labels it may use
        **people,
        "also": [
            {"dataset": store.info.dataset, "population": store.info.population, "people": sorted(names)}
            for store, names in data.read_unlabelled()
        ],
    }


def _warn_of_test_people(source: Description, data: FaceDataModule, path: str) -> None:
    """Say it where weights have already learnt from people that this stage's methods are to be tested on."""
    tested = set(data.store.column("subject")[data.split.test].tolist())
    if seen := source.knows(data.store.info) & tested:
        print(f"warning: {path} was trained on {len(seen)} of this fold's test people, such as {min(seen)}")
