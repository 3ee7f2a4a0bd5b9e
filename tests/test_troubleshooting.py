"""docs/troubleshooting.md quotes messages of the code, word for word, and the exit codes there are."""

import ast
import re
from pathlib import Path

import pytest

from data_modules.errors import Stopped

ROOT = Path(__file__).parent.parent
DOC = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
QUOTED = re.findall(r"^- `(.+)`$", DOC, re.MULTILINE)


def _text(node: ast.AST) -> str:
    """A text of the code with `…` for what is filled in; "" for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _texts() -> list[str]:
    files = [*ROOT.glob("fau_mae/**/*.py"), *ROOT.glob("data_modules/**/*.py")]
    return [
        text
        for path in files
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (text := _text(node))
    ]


TEXTS = set(_texts())


def _in_the_code(message: str) -> bool:
    """Whether one template of the code says this; each `…` may stand for several values, and for other templates."""
    parts = [part for part in re.split("…+", message) if part.strip(" :;,().'")]
    pattern = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    if any(pattern.search(text) for text in TEXTS):
        return True
    # A message of two templates, as where the cure is a constant of its own.
    words = [part.strip(" :;,().'") for part in re.split(r"…+|\): |; ", message)]
    return all(any(part in text for text in TEXTS) for part in words) and sum(map(len, words)) > 20


@pytest.mark.parametrize("message", QUOTED)
def test_every_quoted_message_stands_in_the_code(message: str) -> None:
    assert _in_the_code(message)


def test_a_message_that_has_changed_would_be_found() -> None:
    assert len(QUOTED) >= 25
    for message in ("… holds no such thing: do that", "training has converged: …", "…: lower the butch size"):
        assert not _in_the_code(message)


def test_exit_codes_are_those_of_the_code() -> None:
    assert Stopped(2).exit_code == 130 and Stopped(15).exit_code == 143
    assert re.findall(r"^\| ([\d, ]+) \|", DOC, re.MULTILINE) == ["0", "1", "2", "130, 143"]
    cli = (ROOT / "fau_mae" / "cli.py").read_text("utf-8")
    assert all(code in cli.split('"""')[1] for code in ("Exit 0", "1 where", "2 for", "130", "143"))


def test_it_is_found_from_the_readme_and_the_architecture() -> None:
    for name, link in (
        ("README.md", "docs/troubleshooting.md"),
        ("docs/architecture.md", "troubleshooting.md"),
    ):
        assert f"({link})" in (ROOT / name).read_text("utf-8")
