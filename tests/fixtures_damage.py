"""Ways to spoil a file, by its kind: what a full disk, an editor, a wrong copy or another program leaves."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def _resize(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _foreign(path: Path) -> None:
    """A whole file of the same format that another program made."""
    if path.suffix == ".parquet":
        pd.DataFrame({"price": [1.5, 2.5], "name": ["a", "b"]}).to_parquet(path)
    else:
        path.write_text(
            {".json": "[1, 2]", ".yaml": "- 1\n- 2\n"}.get(path.suffix, "price,name\n1.5,a\n2.5,b\n")
        )


def _other_types(path: Path) -> None:
    """The right names with values of another type."""
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        table.assign(**{name: [[1]] * len(table) for name in table}).to_parquet(path)
    elif path.suffix == ".json":
        values = json.loads(path.read_text())
        path.write_text(json.dumps({name: [{"a": None}] for name in values}))
    elif path.suffix == ".csv":
        table = pd.read_csv(path)
        table.assign(**dict.fromkeys(table, "x")).to_csv(path, index=False)
    else:
        path.write_text("data: 3\nmodel: [1]\n")


def _other_names(path: Path) -> None:
    """Values of the right types under other names."""
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        table.rename(columns={name: f"{name}_" for name in table}).to_parquet(path)
    elif path.suffix == ".json":
        values = json.loads(path.read_text())
        path.write_text(json.dumps({f"{name}_": value for name, value in values.items()}))
    else:
        path.write_text(
            path.read_text().replace("step", "steps").replace("data", "date").replace("mean", "mode")
        )


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: _resize(path, 0.6),
    "text": lambda path: path.write_text("Not what it was: §\n", encoding="latin-1"),
    "a folder": _to_folder,
    "another program's": _foreign,
    "other types": _other_types,
    "other names": _other_names,
}
