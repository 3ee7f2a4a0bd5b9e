"""Files that are no checkpoint, or another kind's: one line in every command that takes one, and nothing is run."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
from fixtures_training import fit
from safetensors.torch import save_file

from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]


class Malice:
    """What unpickling would run."""

    def __reduce__(self):
        return print, ("unpickled",)


def edited(path: Path, change: Callable[[dict], object]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def described(*keys: str, value: object) -> Callable[[Path], object]:
    """One value of what the checkpoint says of itself, replaced; None takes it away."""

    def change(content: dict) -> None:
        place = content["fau_mae"]
        for key in keys[:-1]:
            place = place[key]
        if value is None:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value

    return lambda path: edited(path, change)


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "it is empty"),
    "half": (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "not a fau_mae checkpoint"),
    "text": (lambda p: p.write_text("weights"), "not a fau_mae checkpoint"),
    "code": (lambda p: edited(p, lambda c: c.update(x=Malice())), "never loaded as they may run code"),
    "code in an old pickle": (lambda p: p.write_bytes(pickle.dumps(Malice())), "not a fau_mae checkpoint"),
    "a list": (lambda p: torch.save([1, 2], p), "not a fau_mae checkpoint"),
    "no weights": (lambda p: edited(p, lambda c: c.update(state_dict={})), "not a fau_mae checkpoint"),
    "words for weights": (lambda p: edited(p, lambda c: c["state_dict"].update(a="b")), "not a fau_mae"),
    "weights of another project": (lambda p: edited(p, lambda c: c.pop("fau_mae")), "another project"),
    "no description": (lambda p: edited(p, lambda c: c.update(fau_mae="au")), "another version"),
    "no kind": (described("kind", value=None), "another version"),
    "an unknown kind": (described("kind", value="diffusion"), "another version"),
    "an unknown size": (described("recipe", "size", value="giant"), "net.size is 'giant'"),
    "a size that is a list": (described("recipe", "size", value=[1]), "net.size is [1]"),
    "a grid of words": (described("faces", "grid", value="four"), "describes no model"),
    "no regions": (described("faces", "regions", value=None), "another version"),
    "people unknown": (described("data", "train", value=None), "another version"),
    "data that is a list": (described("data", value=[1]), "another version"),
    "a prevalence too few": (described("data", "prevalence", value=[0.5]), "prevalence of 1 AUs"),
}
METADATA = {
    "{": "JSONDecodeError",
    "[]": "another version",
    '{"kind": "au"}': "another version",
    "3": "another",
}


@pytest.fixture
def bad(teacher: Path, tmp_path: Path) -> Path:
    path = tmp_path / "stage" / "checkpoints" / "some.ckpt"
    path.parent.mkdir(parents=True)
    return Path(shutil.copyfile(teacher, path))


@pytest.fixture
def photo(tiny_store: FaceStore, tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "photo.png"), tiny_store.image(0))
    return tmp_path / "photo.png"


def lines(path: Path, store: FaceStore, photo: Path) -> list[list[object]]:
    return [
        ["evaluate", "--checkpoint", path, "--data", store.path, "--out", "out"],
        ["evaluate", "--checkpoint", path, "--detector", path, "--data", store.path, "--out", "out"],
        ["detect", photo, "--checkpoint", path, "--out", "out"],
        ["save", path, "--out", "out.safetensors"],
    ]


def refused(fau_mae: FauMae, capsys: pytest.CaptureFixture, line: list[object], tmp_path: Path) -> str:
    capsys.readouterr()
    assert fau_mae(*line) == 2, line
    out, said = capsys.readouterr()
    assert said.count("\n") == 1 and "unpickled" not in out + said
    assert not list(tmp_path.glob("out*"))
    return said


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_file_that_is_no_checkpoint_is_named(
    fau_mae: FauMae, capsys, bad: Path, tiny_store: FaceStore, photo: Path, tmp_path: Path, spoil: str
) -> None:
    how, says = SPOILS[spoil]
    how(bad)
    for line in lines(bad, tiny_store, photo):
        if line[0] == "save" and ("describes no model" in says or "net.size" in says):  # it builds none
            continue
        said = refused(fau_mae, capsys, line, tmp_path)
        assert says in said and str(bad) in said


@pytest.mark.parametrize("text", METADATA)
def test_safetensors_with_no_description_of_ours(
    fau_mae: FauMae, capsys, tiny_store: FaceStore, photo: Path, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "w.safetensors"
    for metadata, says in (({"fau_mae": text}, METADATA[text]), (None, "another project")):
        save_file({"a": torch.zeros(1)}, path, metadata)
        for line in lines(path, tiny_store, photo):
            assert says in refused(fau_mae, capsys, line, tmp_path)
    path.write_bytes(path.read_bytes()[:9])
    for line in lines(path, tiny_store, photo):
        assert "not a fau_mae checkpoint" in refused(fau_mae, capsys, line, tmp_path)


def test_folders_and_other_kinds_are_told_apart(
    fau_mae: FauMae, capsys, teacher: Path, tiny_store: FaceStore, photo: Path, tmp_path: Path
) -> None:
    for line in lines(teacher.parent.parent, tiny_store, photo):
        assert f"is a folder: name the file, such as {teacher}" in refused(fau_mae, capsys, line, tmp_path)
    for line in lines(tmp_path, tiny_store, photo):
        assert "is a folder: name a checkpoint file" in refused(fau_mae, capsys, line, tmp_path)
    assert fit(fau_mae, "pretrain", tiny_store, tmp_path / "p") == 0
    mae = tmp_path / "p" / "checkpoints" / "last.ckpt"
    for line in lines(mae, tiny_store, photo)[:3]:
        said = refused(fau_mae, capsys, line, tmp_path)
        assert "a pre-trained masked autoencoder, not an AU model" in said
    line = [
        "evaluate",
        "--checkpoint",
        teacher,
        "--detector",
        teacher,
        "--data",
        tiny_store.path,
        "--out",
        "out",
    ]
    assert "an AU model (teacher or student), not an occlusion detector" in refused(
        fau_mae, capsys, line, tmp_path
    )
    capsys.readouterr()
    assert fit(fau_mae, "student", tiny_store, tmp_path / "s", init=mae) == 2
    said = capsys.readouterr().err
    assert "autoencoder, not an AU model" in said and said.count("\n") == 1


@pytest.mark.parametrize("spoil", ["code", "half", "an unknown kind", "words for weights"])
@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_what_a_stage_takes_is_read_through_the_same_door(
    fau_mae: FauMae, capsys, bad: Path, tiny_store: FaceStore, tmp_path: Path, spoil: str, stage: str
) -> None:
    how, says = SPOILS[spoil]
    how(bad)
    assert fit(fau_mae, stage, tiny_store, tmp_path / "out", init=bad) == 2
    out, said = capsys.readouterr()
    assert says in said and said.count("\n") == 1 and "unpickled" not in out + said
    assert not (tmp_path / "out" / "finished").exists()


def test_the_whole_checkpoint_of_a_stage_is_offered(
    fau_mae: FauMae, capsys, teacher: Path, tiny_store: FaceStore, photo: Path, tmp_path: Path
) -> None:
    stage = Path(shutil.copytree(teacher.parent.parent, tmp_path / "t"))
    last, best = (stage / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    last.write_bytes(last.read_bytes()[:5000])
    for line in lines(last, tiny_store, photo):
        assert f"{best} is whole: name that one" in refused(fau_mae, capsys, line, tmp_path)
    best.write_text("not this one either")
    for line in lines(last, tiny_store, photo):
        assert "name that one" not in refused(fau_mae, capsys, line, tmp_path)
    (tmp_path / "mine.ckpt").write_text("")
    shutil.copyfile(teacher, tmp_path / "last.ckpt")
    said = refused(fau_mae, capsys, ["save", tmp_path / "mine.ckpt", "--out", "out.safetensors"], tmp_path)
    assert "name that one" not in said
