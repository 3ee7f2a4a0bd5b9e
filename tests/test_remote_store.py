"""A sharded store read from object storage, whole by `FaceStore` and row by row."""

from pathlib import Path

import fsspec
import numpy as np
import pytest
from datasets import load_dataset
from fixtures_datasets import write_bp4d

import data_modules.stores.shards as shards
from data_modules.bp4d import prepare_bp4d
from data_modules.errors import UserError
from data_modules.face_data import FaceDataModule
from data_modules.stores.remote import stream_rows
from data_modules.stores.store import FaceStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    """Four subjects, one shard each."""
    folder = tmp_path_factory.mktemp("remote")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BYTES_PER_SHARD", 1000)
        return prepare_bp4d(write_bp4d(folder / "raw"), folder / "s", size=64, workers=1, progress=False)


@pytest.fixture(params=["file", "memory"])
def address(request: pytest.FixtureRequest, store: FaceStore, tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setenv("FAU_MAE_CACHE", str(tmp_path / "cache"))
    if request.param == "file":
        return f"file://{store.path}"
    memory = fsspec.filesystem("memory")
    for path in store.path.iterdir():
        memory.pipe_file(f"/bucket/s/{path.name}", path.read_bytes())
    return "memory://bucket/s"


def test_a_remote_store_is_the_same_store(store: FaceStore, address: str) -> None:
    assert len(list(store.path.glob("data-*.arrow"))) == 4
    for path in (address, Path(address)):
        remote = FaceStore(path)
        assert remote.info == store.info and remote.path != store.path
        for name in ("sample_id", "labels", "subject"):
            np.testing.assert_array_equal(remote.column(name), store.column(name))
        np.testing.assert_array_equal(remote.image(7), store.image(7))


def test_the_data_module_reads_an_address(address: str) -> None:
    data = FaceDataModule(store=Path(address), grid=8, batch_size=2, num_workers=0)
    data.setup("fit")
    assert next(iter(data.train_dataloader())).image.shape[1] == 3


def test_rows_stream_without_a_copy(store: FaceStore, address: str, tmp_path: Path) -> None:
    rows = list(stream_rows(address))
    assert [row["sample_id"] for row in rows] == store.column("sample_id").tolist()
    assert not (tmp_path / "cache").exists()


def test_datasets_streams_the_shards(store: FaceStore) -> None:
    stream = load_dataset("arrow", data_files=f"{store.path}/data-*.arrow", split="train", streaming=True)
    assert [row["frame"] for row in stream] == store.column("frame").tolist()


def test_an_address_without_a_store_is_named() -> None:
    for address in ("memory://nothing/here", "nosuchscheme://x/y"):
        with pytest.raises(UserError, match=address):
            FaceStore(address)
