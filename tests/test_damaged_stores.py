"""Stores that are damaged, foreign or impossible end in one line; whole ones travel light."""

import json
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_modules.errors import UserError
from data_modules.stores.store import FaceStore, StoreInfo

Run = Callable[..., int]


@pytest.fixture
def store(tiny_store: FaceStore, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store.path, tmp_path / "s"))


def edit(store: Path, change: Callable[[dict], object]) -> None:
    meta = json.loads((store / "store.json").read_text())
    change(meta)
    (store / "store.json").write_text(json.dumps(meta))


def resize(path: Path, size: int) -> None:
    content = path.read_bytes()
    path.write_bytes((content * 2)[:size])


def rewrite(store: Path, column: str | None, values: Callable[[list], list] | None = None) -> None:
    """The table with another column, by a program that knows nothing of digests."""
    path = store / "data-00000.arrow"
    with pa.OSFile(str(path), "rb") as file:
        table = pa.ipc.open_stream(file).read_all()
    if column is not None and values is None:
        table = table.drop_columns([column])
    elif column is not None and values is not None:
        place = table.column_names.index(column)
        field = table.schema.field(column)
        table = table.set_column(place, field, pa.array(values(table[column].to_pylist()), field.type))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    edit(store, lambda meta: meta["checks"]["shards"]["data-00000.arrow"].update(bytes=path.stat().st_size))


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "half a shard": (lambda s: resize(s / "data-00000.arrow", 5000), "5,000 bytes instead of"),
    "a shard too long": (lambda s: resize(s / "data-00000.arrow", 10**6), "bytes instead of"),
    "no shard": (lambda s: (s / "data-00000.arrow").unlink(), "data-00000.arrow is missing"),
    "half store.json": (lambda s: resize(s / "store.json", 40), "store.json is damaged"),
    "empty store.json": (lambda s: resize(s / "store.json", 0), "store.json is damaged"),
    "store.json in another encoding": (
        lambda s: (s / "store.json").write_bytes(b"\xff\xfe{"),
        "store.json is not UTF-8",
    ),
    "a list for store.json": (lambda s: (s / "store.json").write_text("[1]"), "describes no store"),
    "another program's store.json": (lambda s: (s / "store.json").write_text("{}"), "no format_version"),
    "a later format": (lambda s: edit(s, lambda m: m.update(format_version=9)), "store format 9"),
    "no aus": (lambda s: edit(s, lambda m: m.pop("aus")), "lacks 'aus'"),
    "no size": (lambda s: edit(s, lambda m: m.pop("size")), "lacks 'size'"),
    "a key of the future": (lambda s: edit(s, lambda m: m.update(depth=3)), "has 'depth'"),
    "aus as text": (lambda s: edit(s, lambda m: m.update(aus="12")), "'aus' is '12'"),
    "doubled aus": (lambda s: edit(s, lambda m: m["aus"].__setitem__(1, 1)), "AU1 is named twice"),
    "fewer aus": (lambda s: edit(s, lambda m: m["aus"].pop()), "labels of the 16 action units"),
    "a negative size": (lambda s: edit(s, lambda m: m.update(size=-48)), "size -48"),
    "parts as a list": (lambda s: edit(s, lambda m: m.update(parts=[1])), "'parts' is"),
    "no state.json": (lambda s: (s / "state.json").unlink(), "cannot be read"),
    "half state.json": (lambda s: resize(s / "state.json", 30), "cannot be read"),
    "half dataset_info.json": (lambda s: resize(s / "dataset_info.json", 30), "cannot be read"),
    "no labels": (lambda s: rewrite(s, "labels"), "damaged"),
    "changed labels": (lambda s: rewrite(s, "labels", lambda v: [v[1], v[0], *v[2:]]), "not the labels"),
    "labels of 7": (lambda s: rewrite(s, "labels", lambda v: [[7] * 17] * len(v)), "labels other than"),
    "exchanged people": (lambda s: rewrite(s, "subject", lambda v: v[::-1]), "people and frames"),
    "moved frames": (lambda s: rewrite(s, "frame", lambda v: [n + 1 for n in v]), "people and frames"),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_damaged_store_is_told_in_one_line(fau_mae: Run, store: Path, capsys, spoil: str) -> None:
    how, says = SPOILS[spoil]
    how(store)
    with pytest.raises(UserError) as error:
        FaceStore(store)
    assert says in str(error.value) and str(store) in str(error.value) and "\n" not in str(error.value)


def test_the_commands_that_open_a_store_say_so(fau_mae: Run, store: Path, capsys) -> None:
    resize(store / "data-00000.arrow", 5000)
    synthetic = ["--identities", 9, "--frames", 4, "--size", 48, "--seed", 5, "--out", store, "--workers", 1]
    assert fau_mae("prepare", "synthetic", *synthetic) == 2
    said = capsys.readouterr().err
    assert "instead of" in said and said.count("\n") == 1 and "Traceback" not in said


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_flipped_bytes_of_a_picture_are_found_by_check(fau_mae: Run, store: Path, capsys, at: float) -> None:
    path = store / "data-00000.arrow"
    content, image = bytearray(path.read_bytes()), FaceStore(store)._images[int(at * 36)].as_py()
    content[content.index(image) + len(image) // 2] ^= 0xFF
    path.write_bytes(content)
    synthetic = ["--identities", 9, "--frames", 4, "--size", 48, "--seed", 5, "--out", store, "--workers", 1]
    assert fau_mae("prepare", "synthetic", *synthetic) == 0  # opened: labels and sizes are as written
    assert fau_mae("prepare", "synthetic", *synthetic, "--check") == 2
    assert "data-00000.arrow is not as it was written" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_are_never_taken_for_labels(store: Path, seed: int) -> None:
    """200 bytes of the file at a time: it opens with the labels that were written, or not at all."""
    path, rng = store / "data-00000.arrow", np.random.default_rng(seed)
    labels, whole = FaceStore(store).column("labels").copy(), path.read_bytes()
    for at in rng.integers(0, len(whole) - 200, 8):
        content = bytearray(whole)
        content[at : at + 200] = rng.bytes(200)
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(FaceStore(store).column("labels"), labels)
        except UserError as error:
            assert "\n" not in str(error)


def test_a_store_from_before_the_digests_opens(store: Path) -> None:
    edit(store, lambda meta: meta.pop("checks"))
    assert len(FaceStore(store)) == 36 and FaceStore(store).check_bytes() == 0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"aus": (12, 12)}, "AU12 is named twice"),
        ({"aus": (4, 1, 4)}, "AU4 is named twice"),
        ({"aus": (0,)}, "0 is no action unit"),
        ({"size": -5}, "size -5"),
        ({"size": 0}, "size 0"),
        ({"size": 10**6}, "size 1000000"),
    ],
)
def test_impossible_stores(values: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        StoreInfo(**{"dataset": "d", "aus": (1,), "size": 64, "encoding": "png", **values})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--size", "-5"], "size -5"),
        (["--size", "0"], "size 0"),
        (["--aus", "12", "12"], "AU12 is named twice"),
        (["--workers", "0"], "workers 0"),
        (["--workers", "-2"], "workers -2"),
    ],
)
@pytest.mark.parametrize("source", ["bp4d", "disfa"])
def test_impossible_options_are_refused_before_any_work(
    fau_mae: Run, tmp_path: Path, capsys, source: str, options: list[str], says: str
) -> None:
    from fixtures_datasets import write_bp4d, write_disfa

    write = {"bp4d": lambda: write_bp4d(tmp_path / "raw", [("F001", "T1")], 1)}
    write["disfa"] = lambda: write_disfa(tmp_path / "raw", ["SN001"], 1)
    write[source]()
    assert fau_mae("prepare", source, "--root", "raw", "--out", "s", *options) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def first_picture(store: FaceStore) -> bytes:
    return store.image(0).tobytes()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_opens_the_store_itself(store: Path, method: str) -> None:
    opened = FaceStore(store)
    opened.column("labels")
    assert len(pickle.dumps(opened)) < 2000
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(first_picture, (opened,)) == first_picture(opened)
