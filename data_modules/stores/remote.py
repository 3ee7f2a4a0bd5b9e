"""Stores in object storage: any address fsspec knows (`s3://…`, `gs://…`, `file://…`, `memory://…`)."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from data_modules import files
from data_modules.errors import UserError


def address_of(path: Path | str) -> str | None:
    """The address that `path` is, also after `Path` has dropped one of its slashes; None for a plain path."""
    if not (match := re.match(r"([a-z][a-z0-9+]+):/+(.+)", str(path))):
        return None
    scheme, rest = match.groups()
    return f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"


def fetch_store(address: str, cache: Path | None = None) -> Path:
    """Copy a remote store to this machine once, shard by shard, and return where it lies.

    The copy is named by the address and by what `store.json` and `state.json` say, so a store that was
    prepared again is fetched again. `cache`: by default `$FAU_MAE_CACHE`, else `~/.cache/fau_mae`. Raises
    `UserError` when the address holds no store.
    """
    remote, root = _open_address(address)
    marks = b"".join(remote.cat_file(f"{root}/{name}") for name in ("store.json", "state.json"))
    key = hashlib.blake2b(address.encode() + marks, digest_size=8).hexdigest()
    cache = cache or Path(os.environ.get("FAU_MAE_CACHE", "~/.cache/fau_mae")).expanduser()
    target = cache / "stores" / key
    if target.exists():
        return target
    with files.folder_aside(
        target
    ) as part:  # where another process is faster, the same bytes are put in twice
        for name in remote.ls(root, detail=False):
            remote.get_file(name, str(part / name.rsplit("/", 1)[-1]))
    return target


def stream_rows(address: str) -> Iterator[dict[str, Any]]:
    """The rows of a remote store in order, read a few at a time and never copied to disk.

    For one pass over a store too large for this machine; `store.SCHEMA` says what a row holds.
    """
    remote, root = _open_address(address)
    for name in sorted(remote.glob(f"{root}/data-*.arrow")):
        with remote.open(name, "rb") as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield from batch.to_pylist()


def _open_address(address: str) -> tuple[Any, str]:
    try:
        remote, root = fsspec.core.url_to_fs(address)
        exists = remote.exists(f"{root}/store.json")
    except (ValueError, ImportError, OSError) as error:
        raise UserError(f"cannot open {address}: {str(error).splitlines()[0]}") from None
    if not exists:
        raise UserError(f"{address} holds no store")
    return remote, root.rstrip("/")
