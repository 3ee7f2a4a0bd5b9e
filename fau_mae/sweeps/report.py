"""A sweep in one page: its best trial, which parameters matter, every trial, and what was trained on × tested on."""

import html
import math
import shlex
from importlib import resources
from pathlib import Path

import pandas as pd

from data_modules.errors import UserError
from data_modules.files import read_parquet, read_text, write_text
from fau_mae.evaluation.scored_run import read_results
from fau_mae.reports.figures import draw_curves
from fau_mae.reports.page import TITLE
from fau_mae.run_folder import last_checkpoint
from fau_mae.sweeps.figures import as_svg, heat_map, parallel_coordinates, trained_on
from fau_mae.sweeps.importance import importance
from fau_mae.sweeps.results import summary_table
from fau_mae.sweeps.sweep_file import Sweep, Trial, load_sweep, read_trials, trial_words

_ROWS = 200  # trials in the table


def write_sweep_report(folder: Path, out: Path) -> None:
    """One self-contained HTML file. Raises `UserError` for a sweep of which no trial has a value."""
    sweep, trials = load_sweep(folder / "sweep.yaml", folder), read_trials(folder)
    summary = summary_table(sweep, trials)
    if not summary[sweep.metric].notna().any():
        raise UserError(f"{folder}: no trial has logged {sweep.metric} yet")
    best = next(trial for trial in trials if trial.name == summary.iloc[0]["trial"])
    varied = [name for name in sweep.parameters if summary[name].astype(str).nunique() > 1]
    parts = [
        f"<h1>{html.escape(sweep.name)}</h1>",
        _about(sweep, summary),
        _best(sweep, best),
        *_matters(sweep, summary, varied),
        *_trained(folder),
        *_ladder(best),
        "<h2>Every trial</h2>",
        _table(summary, sweep, varied),
    ]
    style = read_text(resources.files("fau_mae.reports") / "template" / "report.css")
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{TITLE.decode()}'
    head += f'<meta name="viewport" content="width=device-width"><style>{style}{_CSS}</style></head>'
    write_text(out, f"{head}<body><main>{''.join(parts)}</main></body></html>\n")


_CSS = """
main{max-width:70rem;margin:auto;padding:1rem} .wide{overflow-x:auto}
.wide svg{min-width:36rem;max-width:100%;height:auto}
.bar{display:inline-block;height:.7rem;background:#2b8a3e;vertical-align:middle} code{overflow-wrap:anywhere}
"""


def _about(sweep: Sweep, summary: pd.DataFrame) -> str:
    states = summary["state"].value_counts()
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    goal = "highest" if sweep.maximize else "lowest"
    return (
        f"<p>{len(summary)} trials ({told}), {sweep.method}; the {goal} <code>{html.escape(sweep.metric)}</code> is "
        "best. It is measured on validation people; ladders below are of test people, and nothing was chosen by "
        "them.</p>"
    )


def _best(sweep: Sweep, best: Trial) -> str:
    last = last_checkpoint(best.folder / sweep.out)
    words = shlex.join(["fau-mae", *trial_words(sweep, best.parameters, sweep.folder / "best" / sweep.out)])
    where = f"<li>checkpoint <code>{html.escape(str(last))}</code></li>" if last.is_file() else ""
    settings = "".join(
        f"<li><code>{html.escape(name)}</code> = {html.escape(str(value))}</li>"
        for name, value in best.parameters.items()
    )
    return (
        f"<h2>The best: {html.escape(best.name)}, {best.value:.4f}</h2><ul>{settings}{where}"
        f"<li>again: <code>{html.escape(words)}</code></li></ul>"
    )


def _matters(sweep: Sweep, summary: pd.DataFrame, varied: list[str]) -> list[str]:
    if not varied:
        return []
    shares = importance(summary, varied, sweep.metric)
    ranked = sorted(shares, key=lambda name: -(0 if math.isnan(shares[name]) else shares[name]))
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code></td><td>{_share(shares[name])}</td></tr>"
        for name in ranked
    )
    lines = parallel_coordinates(summary, varied, sweep.metric, sweep.maximize)
    return [
        "<h2>What matters</h2><p>Share of the difference between trials that a parameter explains alone, less what "
        f"chance would.</p>{_wide(f'<table>{rows}</table>')}",
        "<p>Each line is a trial, the best in red.</p>" + _wide(as_svg(lines)),
    ]


def _share(value: float) -> str:
    if math.isnan(value):
        return "too few trials"
    return f'<span class="bar" style="width:{value * 12:.2f}rem"></span> {value:.2f}'


def _trained(folder: Path) -> list[str]:
    path = folder / "results.parquet"
    cells = trained_on(read_parquet(path)) if path.is_file() else None
    if cells is None:
        return []
    return [
        "<h2>Trained on × tested on</h2><p>Macro-AUROC on test people, mean over trials that were trained on the same; "
        "the best of each column is outlined.</p>",
        _wide(as_svg(heat_map(cells))),
    ]


def _ladder(best: Trial) -> list[str]:
    if not (best.folder / "results.parquet").is_file():
        return []
    return [
        f"<h2>The ladder of {html.escape(best.name)}</h2>",
        _wide(as_svg(draw_curves(read_results(best.folder)))),
    ]


def _table(summary: pd.DataFrame, sweep: Sweep, varied: list[str]) -> str:
    columns = ["trial", "state", sweep.metric, "seconds", *varied]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name in columns) + "</tr>"
        for row in summary.head(_ROWS).to_dict("records")
    )
    more = f"<p>{len(summary) - _ROWS} more in summary.csv</p>" if len(summary) > _ROWS else ""
    return f"{_wide(f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>')}{more}"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return html.escape(str(value))


def _wide(inner: str) -> str:
    return f'<div class="wide" tabindex="0">{inner}</div>'
