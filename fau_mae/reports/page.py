"""One self-contained HTML page from finished experiments: tables, curves, heat maps, faces, settings.

The page is a template (template/) with the data as JSON inside; its script draws the charts as SVG. It
loads nothing from anywhere.
"""

import json
import re
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from data_modules.errors import UserError
from data_modules.facs import AUS, au_name
from data_modules.files import check_file, check_ours, read_text, write_text
from fau_mae import __version__
from fau_mae.evaluation.names import looks
from fau_mae.evaluation.scored_run import ScoredRun
from fau_mae.reports.page_data import differences, experiment_data

TITLE = b"<title>AU recognition under occlusion</title>"  # by which a page of ours is known
SCRIPTS = ("charts.js", "tables.js", "results.js", "faces.js", "training.js", "page.js")


def write_report(runs: Sequence[ScoredRun], out: Path) -> None:
    """Compare runs in one HTML file; where predictions are gone and the table is left, it goes without intervals.

    Args:
        runs: as `read_run` reads them.
        out: the file to write; replaced as a whole once the page is ready.
    """
    names = _distinct_names(runs)
    experiments = [experiment_data(run, name, share=1 / len(runs)) for run, name in zip(runs, names)]
    curves = {number: run.curves() for number, run in enumerate(runs) if run.has_predictions}
    page = {
        "version": __version__,
        "looks": looks(),
        "experiments": experiments,
        "differences": differences(curves),
        "aus": {au_name(number): au.name for number, au in AUS.items()},
    }
    write_text(out, _render(page))


def check_page(out: Path) -> None:
    """Before any work: `out` can become a page. Raises `UserError`."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: the name must end in .html")
    check_file(out)
    check_ours(out, lambda page: TITLE in page.read_bytes()[:2000])


def _render(page: dict[str, Any]) -> str:
    template = resources.files("fau_mae.reports") / "template"
    # "<" is escaped so that no text from a run can close the script element.
    data = json.dumps(page, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    parts = {"css": _text(template / "report.css"), "data": data}
    parts["js"] = "\n".join(_text(template / name) for name in SCRIPTS)
    return re.sub(r"\{\{(css|js|data)\}\}", lambda slot: parts[slot[1]], _text(template / "report.html"))


def _text(part: Traversable) -> str:
    return read_text(part)


def _distinct_names(runs: Sequence[ScoredRun]) -> list[str]:
    """The runs' names, with the name of the folder above in front where two share one."""
    names = [run.name for run in runs]
    above = [run.folder.resolve().parent.name for run in runs]
    return [name if names.count(name) == 1 else f"{folder}/{name}" for name, folder in zip(names, above)]
