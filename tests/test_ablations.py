"""`fau-mae run --ablate`, methods of one severity and few labels, through the command line on tiny data."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY
from fixtures_results import page_data

from data_modules.batch import FaceBatch
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.folds import LabelConfig
from data_modules.occlusion.config import OcclusionConfig
from data_modules.stores.store import FaceStore
from fau_mae.evaluation.methods import Method, with_blind
from fau_mae.models.au_model import AUModelConfig
from fau_mae.runs.experiment import load_experiment
from fau_mae.tasks import Student

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")
SMALL = [flag for flag in TINY if "model." not in flag]
SMALL += ["--model.init_args.net.size=micro", "--data.image_size=48", "--ladder.severities=[0.25,0.5,0.75]"]
SMALL_RUN = [word for flag in SMALL for word in ("--set", flag.removeprefix("--"))]


@pytest.mark.slow
def test_ablations_join_a_finished_run_as_rows_of_its_table(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, capsys
) -> None:
    run = ["run", "synthetic", "--store", tiny_store.path, "--out", tmp_path / "r", *SMALL_RUN]
    assert fau_mae(*run) == 0
    assert "macro-F1" in capsys.readouterr().out
    before = pd.read_parquet(tmp_path / "r/results.parquet")
    at = before[before["method"] == "specialist"].groupby("mask_source")["severity"].agg(set)
    assert at.to_dict() == {"oracle": {0.25, 0.5, 0.75}}
    assert set(before.loc[before["method"] == "student", "mask_source"]) == {"oracle", "blind"}
    student = tmp_path / "r/fold1-seed0/student/checkpoints/last.ckpt"
    trained = student.stat().st_mtime_ns

    assert fau_mae(*run, "--ablate") == 0
    assert student.stat().st_mtime_ns == trained  # the run went on, it did not start again
    assert not (tmp_path / "r/fold1-seed0/targets").exists()
    after = pd.read_parquet(tmp_path / "r/results.parquet")
    ablations = set(load_experiment("synthetic").ablations)
    assert set(after["method"]) - set(before["method"]) == ablations
    assert set(after.loc[after["method"].isin(ablations), "mask_source"]) == {"oracle"}
    same = after[~after["method"].isin(ablations)].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, before, check_like=True)
    assert json.loads((tmp_path / "r/run.json").read_text())["ablated"] == sorted(ablations)
    capsys.readouterr()
    assert page_data(tmp_path / "r/report.html")["experiments"][0]["ablations"] == sorted(ablations)
    assert fau_mae(*run, "--ablate") == 0
    assert "done already" in capsys.readouterr().out
    memory = json.loads((tmp_path / "r/run.json").read_text())
    # As if the run had been made before there was such an ablation.
    del memory["training"]["stages"]["severe"]
    memory |= {name: sorted(ablations - {"severe"}) for name in ("ablations", "ablated")}
    (tmp_path / "r/run.json").write_text(json.dumps(memory))
    assert fau_mae(*run, "--ablate") == 0
    assert "done already" not in capsys.readouterr().out
    assert "severe" in json.loads((tmp_path / "r/run.json").read_text())["ablated"]
    frozen = yaml.safe_load((tmp_path / "r/fold1-seed0/frozen_encoder/config.yaml").read_text())
    assert frozen["model"]["init_args"]["optim"]["layer_decay"] == 0.0


def test_an_experiment_without_ablations_says_so(fau_mae: FauMae, tmp_path: Path, capsys) -> None:
    assert fau_mae("run", "quickstart", "--ablate", "--out", tmp_path / "r") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no ablations" in line and not (tmp_path / "r").exists()


def test_thresholds_of_clean_faces_need_methods_that_see_them(
    fau_mae: FauMae, tmp_path: Path, capsys
) -> None:
    assert fau_mae("run", "synthetic", "--set", "ladder.thresholds=clean", "--out", tmp_path / "r") == 2
    assert "specialist sees no clean faces" in capsys.readouterr().err and not (tmp_path / "r").exists()


def test_blind_rows_leave_out_ablations_and_methods_of_one_severity() -> None:
    methods = [Method(name, "oracle", Path(), lambda batch: batch.labels) for name in ("student", "ablation")]
    methods.append(methods[0]._replace(name="specialist", severity=0.5))
    rows = [(m.name, m.mask_source) for m in with_blind(methods, leave_out={"ablation"})]
    assert rows == [
        ("student", "oracle"),
        ("student", "blind"),
        ("ablation", "oracle"),
        ("specialist", "oracle"),
    ]


def test_few_labels_run_to_their_table(fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path) -> None:
    run = ["run", "synthetic_scarce", "--store", tiny_store.path, "--out", tmp_path / "r", *SMALL_RUN]
    assert fau_mae(*run, "--set", "data.labels.subjects=2") == 0
    results = pd.read_parquet(tmp_path / "r/results.parquet")
    told = results.groupby("mask_source")["method"].agg(set).to_dict()
    assert told == {
        "none": {"clean", "augmented", "augmented_distilled"},
        "oracle": {"reconstruct", "dropped", "self_trained", "student"},
    }


def module(store: FaceStore, labels: LabelConfig = LabelConfig()) -> FaceDataModule:  # noqa: B008 - frozen
    return FaceDataModule(store.path, num_folds=3, grid=4, batch_size=4, augment=False, labels=labels)


def test_unlabelled_people_lend_their_pictures_alone(tiny_store: FaceStore) -> None:
    everyone = module(tiny_store)
    few = module(tiny_store, LabelConfig(2))
    both = module(tiny_store, LabelConfig(2, with_unlabelled=True))
    people = tiny_store.column("subject")
    assert len(set(people[few.split.train])) == 2
    assert sorted(both.split.train) == sorted(everyone.split.train)
    for split in ("validation", "test"):
        assert np.array_equal(getattr(few.split, split), getattr(everyone.split, split))
    assert few.prevalence().tolist() == both.prevalence().tolist() != everyone.prevalence().tolist()
    more = module(tiny_store, LabelConfig(3))
    assert set(few.split.train) < set(more.split.train)  # a greater number adds people

    truth = {int(i): row for i, row in zip(tiny_store.column("sample_id"), tiny_store.column("labels"))}
    labelled = set(tiny_store.column("sample_id")[few.split.train].tolist())
    seen = set()
    for batch in both.train_dataloader():
        for sample, labels, intensity in zip(batch.sample_id.tolist(), batch.labels, batch.intensity):
            seen.add(sample)
            if sample in labelled:
                assert labels.tolist() == truth[sample].tolist() and not intensity.isnan().any()
            else:
                assert (labels == -1).all() and intensity.isnan().all()
    assert seen == set(tiny_store.column("sample_id")[everyone.split.train].tolist())
    for batch in both.test_dataloader():
        assert batch.labels.tolist() == [truth[sample].tolist() for sample in batch.sample_id.tolist()]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8])
def test_labelled_faces_are_repeated_to_their_share(tiny_store: FaceStore, share: float) -> None:
    plain = module(tiny_store, LabelConfig(1, with_unlabelled=True))
    data = module(tiny_store, LabelConfig(1, with_unlabelled=True, share=share))
    rows = data._repeated()
    labelled = np.isin(rows, data.labelled)
    assert sorted(set(rows)) == sorted(data.split.train) == sorted(plain.split.train)
    assert labelled.mean() >= share - 1e-9
    assert (~labelled).sum() == len(data.split.train) - len(data.labelled)  # the others come once
    if not share:
        assert np.array_equal(rows, data.split.train)


def test_a_label_weighs_the_same_beside_unlabelled_faces(tiny_store: FaceStore) -> None:
    """Half of the faces labelled, half of the loss: as if every face had a label, and the others' were met."""
    net = AUModelConfig("nano", "gradient", layers=(-1,))
    student = Student(net, node_weight=0, edge_weight=0, logit_weight=0)
    data = module(tiny_store)
    student._trainer = SimpleNamespace(
        datamodule=data, ckpt_path=None, strategy=None, estimated_stepping_batches=9
    )
    student.configure_model()
    few = next(iter(data.train_dataloader()))
    both = FaceBatch(*(torch.cat([field, field]) for field in few))
    both.labels[len(few.labels) :] = -1
    alone, beside = student._losses(few, None)["loss"], student._losses(both, None)["loss"]
    assert beside.item() == pytest.approx(alone.item() / 2, rel=1e-5)


def test_intensities_teach_where_no_label_is_known(tiny_store: FaceStore) -> None:
    net = AUModelConfig("nano", "gradient", layers=(-1,), intensity="ordinal")
    student = Student(net, node_weight=0, edge_weight=0, logit_weight=0)
    data = module(tiny_store)
    student._trainer = SimpleNamespace(
        datamodule=data, ckpt_path=None, strategy=None, estimated_stepping_batches=9
    )
    student.configure_model()
    batch = next(iter(data.train_dataloader()))
    labelled = student._losses(batch, None)["intensity"]
    batch.labels[:] = -1
    losses = student._losses(batch, None)
    assert losses["intensity"].item() == pytest.approx(labelled.item()) and labelled > 0
    assert losses["au"].item() == 0


def answering(data: FaceDataModule, **options) -> Student:
    """A student whose teacher is the model that it starts as."""
    torch.manual_seed(0)
    student = Student(AUModelConfig("nano", "gradient", layers=(-1,)), **options)
    student._trainer = SimpleNamespace(
        datamodule=data, ckpt_path=None, strategy=None, estimated_stepping_batches=9, global_step=0
    )
    student.configure_model()
    student._teacher = [student.model]
    return student.eval()


@pytest.mark.parametrize("sure", [0.5, 0.52])
def test_pseudo_labels_stand_in_for_unknown_labels_alone(tiny_store: FaceStore, sure: float) -> None:
    student = answering(module(tiny_store), pseudo_labels=sure)
    labels = torch.randint(-1, 2, (40, 7), dtype=torch.int8)
    answers = 0.5 + 0.05 * torch.randn(40, 7)
    filled = student._filled(labels, answers)
    assert filled.dtype == labels.dtype and torch.equal(filled[labels >= 0], labels[labels >= 0])
    for value, there in ((1, answers >= sure), (0, (answers <= 1 - sure) & (answers < sure))):
        assert (filled[there & (labels < 0)] == value).all()
    left = (filled < 0).sum()
    assert left == ((labels < 0) & (answers < sure) & (answers > 1 - sure)).sum()
    assert (left == 0) == (sure == 0.5)


def test_a_student_that_is_told_no_mask_reads_every_token(tiny_store: FaceStore) -> None:
    data = FaceDataModule(
        tiny_store.path, grid=4, batch_size=4, occlusion=OcclusionConfig(("patches",), (0.5, 0.5), 0.0)
    )
    batch = next(iter(data.train_dataloader()))
    everywhere = batch._replace(visible=torch.ones_like(batch.visible))
    for told in (True, False):
        student = answering(data, uses_mask=told)
        target = student._target(batch.clean)
        one, other = (student._losses(faces, target) for faces in (batch, everywhere))
        assert one.keys() == other.keys() == {"au", "node", "edge", "logit", "loss"}
        assert all(torch.equal(one[name], other[name]) for name in one) == (not told)
        assert one["logit"] > 0 and student.about.uses_mask == told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"uses_mask": False, "views": (0.5,)}, "need a mask"),
        ({"pseudo_labels": 0.3}, "in 0.5-1"),
        (
            {"pseudo_labels": 0.6, "node_weight": 0, "edge_weight": 0, "logit_weight": 0},
            "model.teacher is missing",
        ),
    ],
)
def test_a_student_that_cannot_be_is_refused(tiny_store: FaceStore, options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Student(**options).check_training(module(tiny_store))


@pytest.mark.parametrize("count", [99, -1])
def test_more_labelled_people_than_there_are_is_refused(tiny_store: FaceStore, count: int) -> None:
    with pytest.raises(UserError, match=r"labels.subjects is -?\d+[,:]"):
        module(tiny_store, LabelConfig(count))
