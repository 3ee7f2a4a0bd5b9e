"""One door to all sources, for the command line and for experiments."""

import importlib
from pathlib import Path
from typing import Any

from data_modules import files
from data_modules.errors import UserError
from data_modules.stores.store import FaceStore

SOURCES = ("synthetic", "bp4d", "disfa", "folder")


def prepare(source: str, out: Path, options: dict[str, Any]) -> FaceStore:
    """Raw files of `source` -> a store at `out`; `options` are those of `data_modules.<source>.prepare_<source>`.

    Raises `UserError` for an unknown source or option.
    """
    if source not in SOURCES:
        raise UserError(f"unknown source {source!r}: use one of {', '.join(SOURCES)}")
    function = getattr(importlib.import_module(f"data_modules.{source}"), f"prepare_{source}")
    files.check_folder(
        Path(out), [Path(options[name]) for name in ("root", "labels") if options.get(name)], inside=False
    )
    options = {name: Path(v) if name in ("root", "labels") and v else v for name, v in options.items()}
    try:
        return function(out=Path(out), **options)
    except TypeError as error:
        raise UserError(f"prepare {source}: {error}") from error
