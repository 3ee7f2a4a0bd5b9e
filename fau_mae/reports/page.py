"""One self-contained HTML page from finished experiments: tables, curves, heat maps, faces, settings.

The page is a template (template/) with the data as JSON inside; its script draws the charts as SVG. It
loads nothing from anywhere.
"""

import json
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.facs import AUS, au_name
from data_modules.files import check_file, read_text, write_text
from fau_mae import __version__
from fau_mae.reports.page_data import (
    differences,
    experiment_data,
    has_predictions,
    prediction_data,
    read_results,
)

SCRIPTS = ("charts.js", "tables.js", "results.js", "faces.js", "training.js", "page.js")


def write_report(runs: list[Path], out: Path) -> None:
    """Compare experiments in one HTML file.

    Args:
        runs: experiment folders, each with `results.parquet` and `fold<k>-seed<s>` folders beside it. Where the
            predictions are gone and the table is left, the page goes without intervals.
        out: the file to write; replaced as a whole once the page is ready.

    Raises:
        UserError: a folder holds no results, or predictions that do not fit them.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: the name must end in .html")
    check_file(out)
    experiments, curves = [], {}
    for number, (run, name) in enumerate(zip(runs, _distinct_names(runs))):
        results = read_results(run)
        data = experiment_data(run, results, name, share=1 / len(runs))
        if has_predictions(run, results):
            more, curves[number] = prediction_data(run, results)
            data |= more
        experiments.append(data)
    page = {
        "version": __version__,
        "experiments": experiments,
        "differences": differences(curves),
        "aus": {au_name(number): au.name for number, au in AUS.items()},
    }
    write_text(out, _render(page))


def _render(page: dict[str, Any]) -> str:
    template = resources.files("fau_mae.reports") / "template"
    # "<" is escaped so that no text from a run can close the script element.
    data = json.dumps(page, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {"css": _text(template / "report.css"), "data": data}
    parts["js"] = "\n".join(_text(template / name) for name in SCRIPTS)
    return re.sub(r"\{\{(css|js|data)\}\}", lambda slot: parts[slot[1]], _text(template / "report.html"))


def _text(part: Traversable) -> str:
    return read_text(part)


def _distinct_names(runs: list[Path]) -> list[str]:
    """Folder names, with the parent's name in front where two experiments share one."""
    folders = [run.resolve() for run in runs]
    names = [folder.name for folder in folders]
    return [f.name if names.count(f.name) == 1 else f"{f.parent.name}/{f.name}" for f in folders]
