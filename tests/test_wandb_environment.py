"""W&B in odd surroundings: no run where it is disabled; one line or an offline run where something is missing."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fixtures_processes import fit_line

from data_modules.stores.store import FaceStore
from fau_mae import tracking

FauMae = Callable[..., int]
ROOT = Path(__file__).parent.parent
KEY = "k" * 40
NOWHERE = "http://127.0.0.1:9"  # the port of `discard`, which nobody listens at


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(tracking, "_unreachable", False)
    return monkeypatch


def test_disabled_leaves_no_trace_and_promises_none(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, surroundings: pytest.MonkeyPatch, capsys
) -> None:
    surroundings.setenv("WANDB_MODE", "disabled")
    assert fau_mae(*fit_line("pretrain", tiny_store, tmp_path / "p")) == 0
    assert (tmp_path / "p" / "metrics.csv").is_file()
    assert not list(tmp_path.rglob("*wandb*")) and "wandb" not in capsys.readouterr().out
    assert os.environ["WANDB_MODE"] == "disabled"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WANDB_MODE": "sometimes"}, "WANDB_MODE=sometimes: use online, offline or disabled"),
        ({"WANDB_API_KEY": "short"}, "40"),
        ({"WANDB_MODE": "offline", "WANDB_PROJECT": "a/b"}, "a/b"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_what_wandb_refuses_is_one_line_before_anything_is_trained(
    fau_mae: FauMae,
    tiny_store: FaceStore,
    tmp_path: Path,
    surroundings: pytest.MonkeyPatch,
    capsys,
    variables: dict[str, str],
    words: str,
) -> None:
    for name, value in variables.items():
        surroundings.setenv(name, value)
    assert fau_mae(*fit_line("pretrain", tiny_store, tmp_path / "p")) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fau-mae: ")]
    assert words in line and not list(tmp_path.rglob("*.ckpt"))


def test_a_key_without_a_network_stays_offline(
    fau_mae: FauMae, tiny_store: FaceStore, tmp_path: Path, surroundings: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "netrc").write_bytes(b"machine \xff\xfe")  # in no encoding
    surroundings.setenv("WANDB_API_KEY", KEY)
    surroundings.setenv("WANDB_BASE_URL", NOWHERE)
    surroundings.delenv("WANDB_INIT_TIMEOUT", raising=False)
    surroundings.setattr(tracking, "_SECONDS", 3)
    assert fau_mae(*fit_line("pretrain", tiny_store, tmp_path / "p")) == 0
    said = capsys.readouterr()
    assert "W&B does not answer, so runs stay offline" in said.err and "Traceback" not in said.err
    assert list(tmp_path.glob("p/wandb/offline-run-*/*.wandb")) and "wandb sync" in said.out


@pytest.mark.parametrize(
    ("content", "known"),
    [
        ("machine api.wandb.ai\n  login user\n  password secret\n", True),
        ("machine example.org login me password wandb\n", False),
        ("machine\n", False),
        (None, False),
    ],
    ids=["ours", "another", "garbled", "folder"],
)
def test_a_netrc_counts_where_it_can_be_read_and_names_the_server(
    tmp_path: Path, surroundings: pytest.MonkeyPatch, content: str | None, known: bool
) -> None:
    path = tmp_path / "netrc"
    path.mkdir() if content is None else path.write_text(content)
    path.chmod(0o700)
    assert tracking.has_key() is known and tracking.mode() == ("online" if known else "offline")


@pytest.fixture
def open_folder(tiny_store: FaceStore) -> Iterator[Path]:
    """A folder that any user may write into, with a copy of the tiny store."""
    folder = Path(tempfile.mkdtemp(prefix="fau-mae-test-"))
    shutil.copytree(tiny_store.path, folder / "store")
    for path in (folder, folder / "store"):
        path.chmod(0o777)
    for path in (folder / "store").iterdir():
        path.chmod(0o666)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(
    os.name != "posix" or os.getuid() != 0, reason="only root may become a user that no list knows"
)
def test_a_user_without_name_and_home(open_folder: Path) -> None:
    """As in containers that run as any number: no HOME, no USER, no entry in the list of users."""
    line = fit_line("pretrain", FaceStore(open_folder / "store"), open_folder / "p")
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    try:
        subprocess.run([sys.executable, "-c", ""], user=54321, group=54321, check=True, env=kept)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("this Python is closed to other users")
    done = subprocess.run(
        [sys.executable, "-m", "fau_mae.cli", *line],
        env={**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(open_folder)},
        cwd=open_folder,
        user=54321,
        group=54321,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert list(open_folder.glob("p/wandb/offline-run-*/*.wandb"))
