"""Offline W&B runs read back with W&B's own reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def offline_records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Records of the one offline run in `folder`/wandb by type; of each the record's own part."""
    (run,) = folder.glob("wandb/offline-run-*/*.wandb")
    line = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", run]
    shown = subprocess.run(line, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    records: dict[str, list[dict[str, Any]]] = {}
    for record in map(json.loads, shown.stdout.splitlines()):
        records.setdefault(record["type"], []).append(record.get(record["type"], {}))
    return records


def summary(folder: Path) -> dict[str, Any]:
    """What `wandb leet inspect --summary --json` says of the one offline run in `folder`/wandb."""
    (run,) = folder.glob("wandb/offline-run-*/*.wandb")
    line = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--summary", "--json", run]
    shown = subprocess.run(line, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)
