"""The one door to the disk: nothing else writes, text is UTF-8 in every locale, outputs harm nothing."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import TINY

import fau_mae as package
from data_modules import files
from data_modules.errors import Stopped, UserError
from data_modules.stores.store import FaceStore

FauMae = Callable[..., int]
ROOT = Path(package.__file__).parents[1]
WRITERS = {
    "write_text",
    "write_bytes",
    "touch",
    "to_parquet",
    "imwrite",
    "savefig",
    "save_file",
    "savez",
    "OSFile",
}
READERS = {"read_text", "open"}
# Their `open` reads a picture or a video, is a lock's, or is not local.
NOT_FILES = {
    "Image",
    "av",
    "os",
    "remote",
}


def _offences(source: str) -> list[str]:
    """Calls that write a file, or read text in the locale's encoding, other than through files.py."""
    tree = ast.parse(source)
    from_files = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "data_modules.files"
        for alias in node.names
    }
    found: list[str] = []

    def visit(node: ast.AST, given: bool) -> None:
        if isinstance(node, ast.With):
            given = given or any("aside(" in ast.unparse(item.context_expr) for item in node.items)
        if isinstance(node, ast.Call) and _offends(node, from_files, given):
            found.append(f"line {node.lineno}: {ast.unparse(node)[:80]}")
        for child in ast.iter_child_nodes(node):
            visit(child, given)

    visit(tree, False)
    return found


def _offends(call: ast.Call, from_files: set[str], given: bool) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in {"open"} | WRITERS and function.id not in from_files
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    name, mode = function.attr, [a.value for a in call.args if isinstance(a, ast.Constant)]
    if owner in {"files", *NOT_FILES}:
        return False
    if name in READERS:
        reads_bytes, says_encoding = "rb" in mode, any(word.arg == "encoding" for word in call.keywords)
        return not (reads_bytes or given or (says_encoding and not {"w", "a", "x"} & set(mode)))
    writes = (
        name in WRITERS or (name == "save" and owner in {"torch", "np"}) or (name == "to_csv" and call.args)
    )
    if name == "OSFile":
        writes = "wb" in mode
    return bool(writes) and not given


@pytest.mark.parametrize("line", [
    "open('x')", "Path('x').open('w')", "path.open('w', encoding='utf-8')", "path.read_text()", "path.write_text('')",
    "table.to_csv(path)", "table.to_parquet(path)", "torch.save(a, path)", "figure.savefig(path)", "cv2.imwrite(p, x)",
    "save_file(tensors, path)", "np.savez(path)", "pa.OSFile(p, 'wb')", "path.touch()",
])  # fmt: skip
def test_the_rule_sees_every_way_to_write(line: str) -> None:
    assert _offences(line)
    assert not _offences(f"with files.aside(p) as path:\n    {line}") or line.startswith(
        ("open", "save_file")
    )


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("fau_mae/**/*.py")) + sorted(ROOT.glob("data_modules/**/*.py")), ids=str
)
def test_only_files_py_opens_a_file_for_writing_or_reads_text_without_an_encoding(path: Path) -> None:
    if path.name != "files.py":
        assert _offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), KeyboardInterrupt(), Stopped(signal.SIGTERM), ValueError("x")]
)
def test_whatever_ends_the_work_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "kept.txt").write_text("before")
    for path in (tmp_path / "kept.txt", tmp_path / "new" / "deep" / "a.txt"):
        with pytest.raises((type(error), UserError)), files.aside(path) as part:
            part.write_text("half")
            raise error
    with pytest.raises((type(error), UserError)), files.folder_aside(tmp_path / "folder") as part:
        (part / "half.txt").write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "before"


def test_what_a_killed_process_left_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path; from data_modules import files\n"
        "with files.aside(Path(sys.argv[1])) as part:\n    part.write_text('half'); print('here', flush=True)\n"
        "    time.sleep(60)"
    )
    line = [sys.executable, "-c", script, tmp_path / "a.txt"]
    writers = [subprocess.Popen(line, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"here\n"
    dead, alive = writers
    dead.kill()
    dead.wait()
    theirs = tmp_path / ".a.txt.backup.part"
    theirs.write_text("a user's own")
    files.write_text(tmp_path / "a.txt", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 3 and {"a.txt", theirs.name} < left
    assert any(name.startswith(f".a.txt.{alive.pid}-") for name in left)
    alive.kill()
    alive.wait()


def test_a_link_stays_one_and_the_longest_name_has_room(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_text(tmp_path / "link", "é")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == "é".encode()
    files.write_text(tmp_path / ("x" * 255), "a")
    with pytest.raises(UserError, match="File name too long; choose a shorter name"):
        files.write_text(tmp_path / ("x" * 256), "a")


@pytest.mark.parametrize("cell", ["=cmd|'/c calc'!A1", "+1+1", "-x", "@SUM(A1)"])
def test_tables_are_safe_in_a_spreadsheet_and_read_back_as_they_were(tmp_path: Path, cell: str) -> None:
    with files.table_writer(tmp_path / "t.csv", ["a", "b"]) as write:
        write([cell, "-3.5"])
    assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith(("'", "\"'"))
    assert files.read_rows(tmp_path / "t.csv") == [{"a": cell, "b": "-3.5"}]


# Outputs that are inputs, or nothing that may be replaced


@pytest.fixture
def faces(tmp_path: Path, tiny_store: FaceStore) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(tiny_store.image(number), cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture
def run(tmp_path: Path, report_experiments: list[Path]) -> Path:
    """A finished run under a name that only UTF-8 holds."""
    folder = shutil.copytree(report_experiments[0], tmp_path / "rün 美")
    memory = {"settings": {"name": "Lauf ü 美"}, "done": [[1, 0]]}
    (folder / "run.json").write_text(json.dumps(memory), encoding="utf-8")
    return folder


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    truth = np.random.default_rng(0).integers(0, 2, 40)
    table = pd.DataFrame({"sample_id": range(40), "AU12": truth * 0.5 + 0.25, "AU12_label": truth})
    table["subject"] = "Zoë 美"
    (tmp_path / "scores").mkdir()
    table.to_csv(tmp_path / "scores" / "p.csv", index=False, encoding="utf-8")
    return tmp_path / "scores" / "p.csv"


def _state(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _refused(fau_mae: FauMae, capsys: pytest.CaptureFixture, *line: object) -> str:
    capsys.readouterr()
    assert fau_mae(*line) == 2, line
    error = capsys.readouterr().err
    assert error.startswith("fau-mae: ") and error.count("\n") == 1, error
    return error


def test_an_output_that_is_an_input_is_refused(
    fau_mae: FauMae, capsys, faces: Path, scores: Path, run: Path, tmp_path: Path
) -> None:
    lines: list[tuple[object, ...]] = [
        ("occlude", faces, "--out", faces),
        ("report", run, "--out", run / "results.parquet"),
        ("results", run, "--out", run / "folds.md"),
        ("dashboard", run, "--spec", run / "results.parquet"),
        ("evaluate-predictions", scores, "--out", scores.parent),
        ("prepare", "folder", "--root", faces, "--out", faces),
        ("prepare", "folder", "--root", faces, "--out", faces / "store"),
        ("prepare", "folder", "--root", faces, "--out", tmp_path),
    ]
    (run / "folds.csv").write_text("fold,seed\n1,0\n")
    before = _state(tmp_path)
    for line in lines:
        _refused(fau_mae, capsys, *line)
    assert _state(tmp_path) == before


def test_detect_never_writes_over_what_it_reads(faces: Path, tmp_path: Path) -> None:
    from fau_mae.inference.detect import Crops, detect_files
    from fau_mae.inference.predictor import Reading

    def read(crops, visible) -> Reading:
        raise AssertionError("nothing may be read")

    before = _state(tmp_path)
    for inputs, out in (([faces], faces), ([faces / "0.png"], faces), ([faces], tmp_path)):
        with pytest.raises(UserError, match="choose another folder"):
            detect_files(inputs, out, Crops(read, (12,), 48, 4), progress=False)
    assert _state(tmp_path) == before


@pytest.mark.parametrize("out", ["/dev/full", "/dev/null", "pipe", "faces/0.png/x", "x" * 300])
def test_only_files_and_folders_are_replaced(
    fau_mae: FauMae,
    capsys,
    faces: Path,
    scores: Path,
    report_experiments: list[Path],
    tmp_path: Path,
    out: str,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = Path("/dev/full").stat().st_rdev, _state(faces)
    _refused(fau_mae, capsys, "occlude", faces, "--out", out)
    _refused(fau_mae, capsys, "evaluate-predictions", scores, "--out", out)
    _refused(fau_mae, capsys, "prepare", "synthetic", "--identities", 1, "--frames", 1, "--out", out)
    _refused(fau_mae, capsys, "dashboard", report_experiments[0], "--spec", out)
    assert before == (Path("/dev/full").stat().st_rdev, _state(faces)) and (tmp_path / "pipe").is_fifo()


def test_folders_called_like_ours_are_left_alone(
    fau_mae: FauMae, capsys, faces: Path, tmp_path: Path
) -> None:
    for name in ("o.partial", "o.detecting", "s.preparing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("a year's work")
    assert fau_mae("occlude", faces, "--kind", "patches", "--severity", 0.5, "--out", "o") == 0
    error = _refused(fau_mae, capsys, "prepare", "synthetic", "--identities", 1, "--frames", 1, "--out", "s")
    assert "s.preparing" in error and len(list(tmp_path.glob("*/thesis.txt"))) == 3


def test_here_is_an_output_where_it_can_be_one(
    fau_mae: FauMae, capsys, faces: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert fau_mae_here("occlude", "../faces", "--kind", "patches", "--severity", 0.5, "--out", ".") == 0
    assert sorted(path.name for path in Path().iterdir()) == ["manifest.csv", "patches"]
    assert fau_mae_here("prepare", "synthetic", "--identities", 1, "--frames", 1, "--out", ".") == 2
    assert fau_mae_here("report", "../faces", "--out", "..") == 2


def fau_mae_here(*line: object) -> int:
    from fau_mae.cli import main

    return main([str(word) for word in line])


# Disks that are full or read-only


@pytest.fixture(params=["size=32k", "ro"])
def bad_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small or read-only file system of its own, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", request.param, "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(line, capture_output=True).returncode:
        pytest.skip("cannot mount a file system here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_or_read_only_disk_is_one_line_and_nothing_is_left(
    fau_mae: FauMae, capsys, faces: Path, scores: Path, run: Path, bad_disk: Path
) -> None:
    for line in (
        ("occlude", faces, "--out", bad_disk / "o"),
        ("occlude", faces, "--out", bad_disk),
        ("report", run, "--out", bad_disk / "r.html"),
        ("results", run, "--out", bad_disk / "r.md"),
        ("prepare", "synthetic", "--identities", 2, "--frames", 8, "--workers", 1, "--out", bad_disk / "s"),
        ("evaluate-predictions", scores, "--out", bad_disk / "e"),
    ):
        capsys.readouterr()
        code, error = fau_mae(*line), capsys.readouterr().err
        if code == 0:  # the output is smaller than the disk
            assert "results" in line or "evaluate-predictions" in line
            shutil.rmtree(bad_disk / "e", ignore_errors=True)
            continue
        assert code == 2 and error.count("fau-mae: ") == 1 and error.count("\n") == 1, error
        assert "No space left on device" in error or "Read-only file system" in error
        left = [path.relative_to(bad_disk) for path in bad_disk.rglob("*") if path.is_file()]
        assert all(str(path).startswith(("s.preparing", "r.")) for path in left), left
        shutil.rmtree(bad_disk / "s.preparing", ignore_errors=True)


# Locales

LOCALES = [
    "C",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("ja_JP.EUC-JP", "de_DE.ISO-8859-1")),
]


@pytest.fixture(
    scope="session",
    params=[
        "C",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("ja_JP.EUC-JP", "de_DE.ISO-8859-1")),
    ],
)
def foreign_locale(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Environment of a locale without UTF-8, made here where the system has its parts."""
    name = request.param
    environment = {**os.environ, "LC_ALL": name, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if name != "C":
        folder = tmp_path_factory.mktemp("locales")
        language, _, charmap = name.partition(".")
        line = ["localedef", "-i", language, "-f", charmap, str(folder / name)]
        if shutil.which("localedef") is None or subprocess.run(line, capture_output=True).returncode > 1:
            pytest.skip("this system cannot make that locale")
        environment["LOCPATH"] = str(folder)
    return environment


def test_every_written_text_is_utf8_in_every_locale(
    faces: Path, scores: Path, run: Path, tmp_path: Path, foreign_locale: dict[str, str]
) -> None:
    zoe = faces / "Zoë 美.png"
    (faces / "0.png").rename(zoe)
    labels = tmp_path / "labels.csv"
    labels.write_text("\ufefffile,AU12,subject\nZoë 美.png,1,Zoë 美\n1.png,0,b\n", encoding="utf-8")
    out = tmp_path / "öut"
    for line in (
        ("occlude", faces, "--kind", "patches", "--severity", "0.5", "--out", out / "o"),
        (
            "prepare",
            "folder",
            "--root",
            faces,
            "--labels",
            labels,
            "--out",
            out / "s",
            "--size",
            "48",
            "--workers",
            "1",
        ),
        ("evaluate-predictions", scores, "--dataset", "Gesichter ü", "--out", out / "e"),
        ("report", run, "--out", out / "r.html"),
        ("results", run, "--out", out / "r.md"),
    ):
        words = [sys.executable, "-m", "fau_mae.cli", *map(str, line)]
        done = subprocess.run(
            words, capture_output=True, env={**foreign_locale, "PYTHONPATH": str(ROOT)}, cwd=tmp_path
        )
        said = done.stderr.decode("utf-8", "replace")
        assert b"Traceback" not in done.stderr, said
        assert done.returncode == 0 or (line[0] == "prepare" and "no usable face" in said), said
    texts = [path for path in out.rglob("*") if path.suffix in (".csv", ".json", ".html", ".md")]
    assert len(texts) >= 4
    for path in texts:
        path.read_text(encoding="utf-8")
    assert "Zoë 美.png" in (out / "o" / "manifest.csv").read_text(encoding="utf-8")
    assert "rün 美" in (out / "r.html").read_text(encoding="utf-8")
    assert "Lauf ü 美" in (out / "r.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_models_write_is_utf8_in_every_locale(
    faces: Path, tiny_store: FaceStore, tmp_path: Path, foreign_locale: dict[str, str]
) -> None:
    """Training, weights, ladder, detection, a whole run and its dashboard, all under names of other alphabets."""
    (faces / "0.png").rename(faces / "Zoë 美.png")
    store, out = tmp_path / "Lager ü 美", tmp_path / "öut"
    shutil.copytree(tiny_store.path, store)
    checkpoint = out / "Lehrer ü" / "checkpoints" / "last.ckpt"
    tiny = [word.removeprefix("--") for word in TINY]
    search = tmp_path / "Suche ü.yaml"
    fit = [
        "fit",
        "--config",
        "quickstart/pretrain",
        "--out",
        "runs/{trial}/pretrain",
        f"--data.store={store}",
        *TINY,
    ]
    trials = {"program": "fau-mae", "command": ["${program}", *fit, "${args}"], "method": "grid"}
    trials |= {
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": {"data.seed": {"values": [1]}},
    }
    search.write_text(yaml.safe_dump(trials, allow_unicode=True), encoding="utf-8")
    for line in (
        ["fit", "--config", "quickstart/teacher", "--out", out / "Lehrer ü", f"--data.store={store}"]
        + [*TINY, "--model.init_args.init_from=null"],
        ["save", checkpoint, "--out", out / "Gewichte ü.safetensors"],
        [
            "evaluate",
            "--checkpoint",
            out / "Gewichte ü.safetensors",
            "--data",
            store,
            "--out",
            out / "Leiter ü",
        ]
        + ["--kinds", "patches", "--severities", "0.5"],
        ["detect", faces, "--checkpoint", checkpoint, "--out", out / "gefunden ü"],
        ["experiments", "copy", "quickstart", out / "Versuch ü"],
        ["run", out / "Versuch ü", "--store", store, "--out", out / "Lauf ü", "--set", *tiny],
        ["dashboard", out / "Lauf ü", "--spec", out / "Tafel ü.json"],
        ["sweep", search, "--out", out / "Suche ü"],
    ):
        words = [sys.executable, "-m", "fau_mae.cli", *map(str, line)]
        environment = {**foreign_locale, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, capture_output=True, env=environment, cwd=tmp_path, timeout=300)
        said = done.stderr.decode("utf-8", "replace")
        assert done.returncode == 0 and b"Traceback" not in done.stderr, (line[0], said)
    endings = {".csv", ".json", ".html", ".md", ".yaml"}
    texts = [path for path in out.rglob("*") if path.suffix in endings]
    assert {path.suffix for path in texts} >= {".csv", ".json", ".html", ".yaml"}
    for path in texts:
        path.read_text(encoding="utf-8")
    assert "Zoë 美.png" in (out / "gefunden ü" / "aus.csv").read_text(encoding="utf-8")
    assert "Versuch ü" in (out / "Lauf ü" / "report.html").read_text(encoding="utf-8")
    config = yaml.safe_load((out / "Lehrer ü" / "config.yaml").read_text(encoding="utf-8"))
    assert config["data"]["store"] == str(store)
