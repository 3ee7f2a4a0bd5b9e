"""`data.unlabelled`: further stores beside the labelled one lend their pictures alone, and nobody of a test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY
from fixtures_training import LONG, SAVE_EVERY_STEP, assert_same_training, fit, power_cut

from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.folds import LabelConfig
from data_modules.occlusion.config import OcclusionConfig
from data_modules.stores.joined import JoinedStores
from data_modules.stores.store import FaceStore
from data_modules.synthetic import prepare_synthetic
from fau_mae.weights.checkpoints import load_au_model, read_own

FauMae = Callable[..., int]
pytestmark = pytest.mark.usefixtures("no_wandb")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    """5 people of another seed, whose names and sample ids are those of `tiny_store`, in larger pictures."""
    out = tmp_path_factory.mktemp("stores") / "strangers"
    return prepare_synthetic(out, identities=5, frames=3, size=64, seed=6, workers=1, progress=False)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    """The people of `tiny_store` in other pictures."""
    out = tmp_path_factory.mktemp("stores") / "again"
    return prepare_synthetic(
        out, identities=9, frames=2, size=48, seed=5, style="disfa", workers=1, progress=False
    )


def module(store: FaceStore, *unlabelled: FaceStore, **settings) -> FaceDataModule:
    occlusion = OcclusionConfig(kinds=("patches", "block"), fill="donor")
    settings = {"labels": LabelConfig(with_unlabelled=True), "occlusion": occlusion} | settings
    paths = [other.path for other in unlabelled]
    return FaceDataModule(store.path, grid=4, batch_size=4, unlabelled=paths, **settings)


def test_every_face_is_one_of_its_own_and_every_person_too(
    tiny_store: FaceStore, strangers: FaceStore, again: FaceStore
) -> None:
    own, other = (set(store.column("sample_id").tolist()) for store in (tiny_store, strangers))
    assert own & other  # or nothing would have to be told apart
    joined = JoinedStores(tiny_store, [strangers, again])
    ids, subjects = joined.sample_ids(), joined.subjects()
    assert len(joined) == len(ids) == len(set(ids.tolist())) == 36 + 15 + 18 and (ids >= 0).all()
    assert ids[:36].tolist() == tiny_store.column("sample_id").tolist()
    assert np.array_equal(subjects[:36], np.unique(tiny_store.column("subject"), return_inverse=True)[1])
    assert set(subjects[36:51]) & set(subjects[:36]) == set()  # of another seed: another person
    assert set(subjects[51:]) == set(subjects[:36])
    turned = JoinedStores(tiny_store, [again, strangers]).sample_ids()
    assert set(turned.tolist()) == set(ids.tolist())  # whatever the order they are named in
    for row, store in ((36, strangers), (50, strangers), (51, again), (68, again)):
        mine = row - (36 if store is strangers else 51)
        assert joined.picture(row, 48).shape == (48, 48, 3)
        if store is again:
            assert np.array_equal(joined.picture(row, 48), store.image(mine))
        np.testing.assert_allclose(
            joined.landmarks(row, 48), store.landmarks(mine) * 48 / store.info.size, rtol=1e-6
        )


def test_an_epoch_reads_them_without_labels_and_nobody_who_is_kept_apart(
    tiny_store: FaceStore, strangers: FaceStore, again: FaceStore
) -> None:
    data = module(tiny_store, strangers, again)
    joined = JoinedStores(tiny_store, [strangers, again])
    people = [*tiny_store.column("subject"), *(f"stranger {s}" for s in strangers.column("subject"))]
    people = dict(zip(joined.sample_ids().tolist(), [*people, *again.column("subject")]))
    truth = {int(i): row for i, row in zip(tiny_store.column("sample_id"), tiny_store.column("labels"))}
    apart = set(tiny_store.column("subject")[[*data.split.validation, *data.split.test]])
    seen: dict[int, int] = {}
    for epoch in range(3):
        loader = data.train_dataloader()
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            for sample, labels, intensity in zip(batch.sample_id.tolist(), batch.labels, batch.intensity):
                seen[sample] = seen.get(sample, 0) + 1
                known = sample in truth
                assert known or ((labels == -1).all() and intensity.isnan().all())
                assert not known or labels.tolist() == truth[sample].tolist()
    assert not {people[sample] for sample in seen} & apart
    expected = {sample for sample, person in people.items() if person not in apart}
    assert set(seen) <= expected and max(seen.values()) <= 3
    # What does not fill a step is left out of an epoch.
    assert len(expected) * 3 - sum(seen.values()) < 3 * 4


def test_what_is_validated_and_tested_does_not_change(tiny_store: FaceStore, strangers: FaceStore) -> None:
    plain, more = module(tiny_store), module(tiny_store, strangers)
    assert plain.prevalence().tolist() == more.prevalence().tolist()
    for loaders in zip(
        (plain.val_dataloader(), plain.test_dataloader()), (more.val_dataloader(), more.test_dataloader())
    ):
        for one, other in zip(*loaders, strict=True):
            assert all(torch.equal(a, b) or a.is_floating_point() for a, b in zip(one, other))


def test_workers_and_ranks_make_no_difference(
    tiny_store: FaceStore, strangers: FaceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [list(module(tiny_store, strangers, num_workers=n).train_dataloader()) for n in (0, 2)]
    for one, other in zip(*runs, strict=True):
        assert all(torch.equal(a, b) or a.is_floating_point() for a, b in zip(one, other))
    halves = []
    for rank in (0, 1):
        data = module(tiny_store, strangers)
        data.batch_size = 2
        monkeypatch.setattr(data, "_ranks", lambda rank=rank: {"rank": rank, "world_size": 2})
        halves.append(list(data.train_dataloader()))
    for whole, one, other in zip(runs[0], *halves, strict=True):
        assert torch.equal(whole.image, torch.cat([one.image, other.image]))
        assert torch.equal(whole.sample_id, torch.cat([one.sample_id, other.sample_id]))


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_labelled_faces_are_repeated_beside_them(
    tiny_store: FaceStore, strangers: FaceStore, share: float
) -> None:
    labels = LabelConfig(subjects=2, with_unlabelled=True, share=share)
    data = module(tiny_store, strangers, labels=labels)
    rows = data._repeated()
    labelled = np.isin(rows, data.labelled)
    assert labelled.mean() >= share
    assert (~labelled).sum() == len(data.split.train) - len(data.labelled) + len(strangers)


def test_a_stage_of_labels_alone_does_not_read_them(tiny_store: FaceStore, strangers: FaceStore) -> None:
    plain, more = (
        module(tiny_store, *others, labels=LabelConfig(2), num_workers=0) for others in ((), (strangers,))
    )
    assert np.array_equal(plain._repeated(), more._repeated()) and not list(more.read_unlabelled())


def test_what_does_not_go_together_is_one_line(
    fau_mae: FauMae, tiny_store: FaceStore, strangers: FaceStore, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for others in ((tiny_store,), (strangers, strangers)):
        with pytest.raises(UserError, match="given twice, or is the labelled store itself"):
            module(tiny_store, *others)
    store = ["run", "quickstart", "--store", tiny_store.path, "--out", "r", "--set", "data.grid=4"]
    for more, words in (
        (["data.unlabelled=[nowhere]"], "nowhere is not a store"),
        ([f"teacher.data.unlabelled=[{strangers.path}]"], "no stage reads: set data.labels.with_unlabelled"),
    ):
        assert fau_mae(*store, *more) == 2
        assert words in capsys.readouterr().err and not Path("r").exists()
    monkeypatch.setitem(strangers.info.options, "preset", "fmae")
    with pytest.raises(UserError, match="cropped by fmae, the labelled faces by canonical: prepare it with"):
        JoinedStores(tiny_store, [strangers])


@pytest.mark.parametrize("stage", ["pretrain", "student"])
def test_a_resumed_stage_equals_an_uninterrupted_one(
    fau_mae: FauMae,
    tiny_store: FaceStore,
    strangers: FaceStore,
    teacher: Path,
    tmp_path: Path,
    stage: str,
) -> None:
    whole, pieces = tmp_path / "whole" / stage, tmp_path / "pieces" / stage
    more = [*LONG, SAVE_EVERY_STEP, f"--data.unlabelled=[{strangers.path}]", "--trainer.max_epochs=2"]
    init = teacher if stage == "student" else None
    assert fit(fau_mae, stage, tiny_store, whole, *more, init=init) == 0
    with power_cut(1, 2), pytest.raises(RuntimeError, match="power cut"):
        fit(fau_mae, stage, tiny_store, pieces, *more, "--ckpt_path=last", init=init)
    assert fit(fau_mae, stage, tiny_store, pieces, *more, "--ckpt_path=last", init=init) == 0
    assert_same_training(whole, pieces)
    said = [read_own(out / "checkpoints/last.ckpt")[0].data for out in (whole, pieces)]
    names = sorted(set(strangers.column("subject")))
    assert said[0]["also"] == said[1]["also"]
    assert said[0]["also"] == [{"dataset": "synthetic", "population": "synthetic 6", "people": names}]


def test_nobody_is_tested_whom_an_encoder_has_seen(
    fau_mae: FauMae, tiny_store: FaceStore, strangers: FaceStore, tmp_path: Path, capsys
) -> None:
    """A teacher knows whom its autoencoder has read without labels, and so does all that comes of it."""
    more = f"--data.unlabelled=[{strangers.path}]"
    assert fit(fau_mae, "pretrain", tiny_store, tmp_path / "pretrain", more) == 0
    start = tmp_path / "pretrain/checkpoints/last.ckpt"
    assert fit(fau_mae, "teacher", tiny_store, tmp_path / "teacher", init=start) == 0
    checkpoint = tmp_path / "teacher/checkpoints/last.ckpt"
    assert fit(fau_mae, "student", tiny_store, tmp_path / "student", init=checkpoint) == 0
    student = load_au_model(tmp_path / "student/checkpoints/last.ckpt").about
    names = set(strangers.column("subject"))
    assert student.knows(strangers.info) == names
    assert not student.knows(tiny_store.info) & set(student.data["test"])
    line = ["evaluate", "--checkpoint", checkpoint, "--kinds", "patches", "--severities", "0.5"]
    assert fau_mae(*line, "--data", strangers.path, "--out", "none") == 2
    assert "nobody to test on" in capsys.readouterr().err
    wider = tmp_path / "wider"  # of the same seed, and more people
    prepare_synthetic(wider, identities=14, frames=2, size=48, seed=6, workers=1, progress=False)
    assert fau_mae(*line, "--data", wider, "--out", "some") == 0
    tested = set(pd.read_parquet("some/predictions/test/labels.parquet")["subject"])
    assert tested and not tested & names
    assert fau_mae(*line, "--data", tiny_store.path, "--out", "own") == 0
    tested = set(pd.read_parquet("own/predictions/test/labels.parquet")["subject"])
    assert tested == set(student.data["test"])


def test_a_run_reads_them_where_faces_need_no_label(
    fau_mae: FauMae, tiny_store: FaceStore, strangers: FaceStore, tmp_path: Path
) -> None:
    changes = [word for flag in TINY for word in ("--set", flag.removeprefix("--"))]
    line = ["run", "quickstart", "--store", tiny_store.path, "--out", "r", *changes]
    line += ["--set", f"data.unlabelled=[{strangers.path}]", "ladder.severities=[0.5]"]
    assert fau_mae(*line) == 0
    people = {
        stage: read_own(tmp_path / f"r/fold1-seed0/{stage}/checkpoints/last.ckpt")[0].data["also"]
        for stage in ("pretrain", "teacher", "augmented", "dropped", "student")
    }
    assert all(also == people["pretrain"] != [] for also in people.values())
