"""One door to all sources, for the command line and for experiments."""

from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.store import FaceStore


def prepare(source: str, out: Path, options: dict[str, Any]) -> FaceStore:
    """Raw files of `source` -> a store at `out`; `options` are those of the source's `prepare_…` function.

    Raises `UserError` for an unknown source or option.
    """
    if source == "synthetic":
        from data_modules.synthetic import prepare_synthetic as function
    elif source == "disfa":
        from data_modules.disfa import prepare_disfa as function  # type: ignore[assignment]
    else:
        raise UserError(f"unknown source {source!r}: use synthetic or disfa")
    if options.get("root"):
        options = {**options, "root": Path(options["root"])}
    try:
        return function(out=out, **options)
    except TypeError as error:
        raise UserError(f"prepare {source}: {error}") from error
