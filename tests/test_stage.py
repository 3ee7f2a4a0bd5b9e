"""Stages without the command line: a plain `lightning.Trainer`, a checkpoint loaded by its class, predictions."""

from pathlib import Path

import lightning as L
import pytest
import torch

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.occlusion.config import OcclusionConfig
from data_modules.stores.store import FaceStore
from fau_mae.models.au_model import AUModelConfig
from fau_mae.models.backbone.decoders import MAEConfig
from fau_mae.models.detectors import DetectorConfig
from fau_mae.tasks import MAEPretraining, OcclusionDetector, Student, Teacher
from fau_mae.tasks.stage import Stage


def data_of(store: FaceStore) -> FaceDataModule:
    hidden = OcclusionConfig(kinds=("patches",), val_kind="patches", val_severity=0.5)
    return FaceDataModule(store.path, grid=4, batch_size=8, occlusion=hidden)


def trainer(folder: Path, **options) -> L.Trainer:
    return L.Trainer(
        default_root_dir=folder,
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def stages() -> list[Stage]:
    alone = {"node_weight": 0.0, "edge_weight": 0.0, "logit_weight": 0.0}
    return [
        MAEPretraining(MAEConfig("nano", "gradient")),
        Teacher(AUModelConfig("nano", "gradient")),
        Student(AUModelConfig("nano", "gradient", hidden="completed"), **alone),
        OcclusionDetector(DetectorConfig("nano", "gradient")),
    ]


@pytest.mark.parametrize("stage", stages(), ids=lambda stage: type(stage).__name__)
def test_a_plain_trainer_fits_tests_and_predicts_and_the_checkpoint_is_the_same_model(
    tiny_store: FaceStore, tmp_path: Path, stage: Stage
) -> None:
    data, plain = data_of(tiny_store), trainer(tmp_path)
    plain.fit(stage, data)
    plain.test(stage, data, verbose=False)
    told = plain.predict(stage, data)
    plain.save_checkpoint(tmp_path / "stage.ckpt")
    ids = torch.cat([part["sample_id"] for part in told])
    assert ids.tolist() == tiny_store.column("sample_id")[data.split.test].tolist()
    loaded = type(stage).load_from_checkpoint(tmp_path / "stage.ckpt")
    assert loaded.net == stage.net and loaded.about == stage.about
    again = trainer(tmp_path).predict(loaded, data_of(tiny_store))
    for one, other in zip(told, again):
        assert torch.equal(one["predictions"], other["predictions"])


def test_predictions_of_action_units_are_probabilities(tiny_store: FaceStore, tmp_path: Path) -> None:
    stage = Teacher(AUModelConfig("nano", "gradient"))
    plain = trainer(tmp_path, limit_train_batches=1, limit_val_batches=1)
    plain.fit(stage, data_of(tiny_store))
    values = torch.cat([part["predictions"] for part in plain.predict(stage, data_of(tiny_store))])
    assert values.shape[1] == len(tiny_store.info.aus) and 0 <= values.min() < values.max() <= 1


def test_a_checkpoint_of_another_stage_is_refused(tiny_store: FaceStore, tmp_path: Path) -> None:
    plain = trainer(tmp_path, limit_train_batches=1, limit_val_batches=1)
    plain.fit(MAEPretraining(MAEConfig("nano", "gradient")), data_of(tiny_store))
    plain.save_checkpoint(tmp_path / "mae.ckpt")
    with pytest.raises(UserError, match="masked autoencoder, which is no Teacher's"):
        Teacher.load_from_checkpoint(tmp_path / "mae.ckpt")
    with pytest.raises(UserError, match="masked autoencoder"):
        trainer(tmp_path).fit(
            Teacher(AUModelConfig("nano", "gradient")),
            data_of(tiny_store),
            ckpt_path=tmp_path / "mae.ckpt",
        )


def test_batches_without_a_data_module_are_refused(tiny_store: FaceStore, tmp_path: Path) -> None:
    loader = data_of(tiny_store).train_dataloader()
    with pytest.raises(UserError, match="FaceDataModule"):
        trainer(tmp_path).fit(Teacher(AUModelConfig("nano")), loader)
