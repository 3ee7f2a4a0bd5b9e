"""`fau-mae results`: the tables of finished runs, between two markers of a Markdown document, and as CSV beside it."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_modules.errors import UserError
from data_modules.files import check_file, read_json, read_text, write_csv, write_text
from fau_mae.evaluation.predictions import read_labels
from fau_mae.evaluation.scoring import KEYS
from fau_mae.evaluation.statistics import REPLICATES, bootstrap, run_folders
from fau_mae.reports.markdown import ablation_table, comparison_tables
from fau_mae.reports.page_data import read_results
from fau_mae.runs.experiment import load_experiment, with_overrides

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
EXPLANATION = f"""\
From here to the end of the tables, `fau-mae results` writes. Figures: means over action units, folds and seeds, by the
hidden share of the face; mean: over the shares above 0. In brackets: 95 % interval over test people ({REPLICATES:,}
draws), which says what other people might have shown, not what training again might have learnt. Mask: `oracle`: told
the true one; `blind`: estimates it; `none`: uses none. Differences: paired on the same faces and masks; **bold**: the
interval excludes 0. —: not measured."""


def write_results(runs: Sequence[Path], out: Path) -> None:
    """Replace the tables of a Markdown document, or add them, and write the figures beside it as CSV.

    Args:
        runs: folders of finished runs, with their predictions.
        out: the document, `.md`. What stands outside the lines `BEGIN` and `END` is left as it is; a document that
            lacks them gets them at its end.

    The CSV holds the macro rows of the results tables, without checkpoints: they name files of the runs' folders.

    Raises:
        UserError: a run is not finished, or the document's markers are not one pair in order.
    """
    if out.suffix != ".md":
        raise UserError(f"--out {out}: the name must end in .md; the CSV is written beside it")
    _check_outputs(out)
    before, after = _around_tables(out)
    memories = [_memory(run) for run in runs]
    sections, figures = [], []
    for run, name, memory in zip(runs, _names(runs, memories), memories):
        results = read_results(run)
        sections.append(_section(run, name, memory, results))
        figures.append(results[results["au"] == "macro"].assign(experiment=name))
    table = pd.concat(figures, ignore_index=True).drop(columns="checkpoint")
    table = table.sort_values(list(KEYS), kind="stable").round(4)
    write_csv(out.with_suffix(".csv"), table)
    write_text(out, before + "\n\n".join([BEGIN, EXPLANATION, *sections, END]) + after)


def _check_outputs(out: Path) -> None:
    """Before any work: both files can be written, and the table in the CSV's place, if any, is one of ours."""
    figures = out.with_suffix(".csv")
    for path in (out, figures):
        check_file(path)
    if figures.exists() and not set(KEYS) <= set(read_text(figures).partition("\n")[0].split(",")):
        raise UserError(
            f"{figures} is not of this command and would be replaced: name the document otherwise"
        )


def _around_tables(path: Path) -> tuple[str, str]:
    """What stands before and after the tables."""
    if not path.is_file():
        return "# Results\n\n", "\n"
    text = read_text(path)  # line ends stay as they are
    begins, ends = (list(re.finditer(rf"^{re.escape(m)}[ \t\r]*$", text, re.MULTILINE)) for m in (BEGIN, END))
    if not begins and not ends:
        return (text.rstrip() + "\n\n").lstrip("\n"), "\n"
    if len(begins) != 1 or len(ends) != 1 or ends[0].start() < begins[0].start():
        raise UserError(f"{path}: expected one line {BEGIN} and one line {END} after it, or neither")
    return text[: begins[0].start()], text[ends[0].start() + len(END) :]


def _names(runs: Sequence[Path], memories: Sequence[dict[str, Any]]) -> list[str]:
    """The experiments' names, with the run's folder where several are of one experiment."""
    names = [memory["settings"]["name"] for memory in memories]
    several = [
        name if names.count(name) == 1 else f"{name} ({run.resolve().name})" for name, run in zip(names, runs)
    ]
    if twice := [name for name in several if several.count(name) > 1]:
        raise UserError(f"two runs are called {twice[0]}: give each once, and folders of different names")
    return several


def _memory(run: Path) -> dict[str, Any]:
    """`run.json` of a finished run."""
    path = run / "run.json"
    memory = read_json(path) if path.is_file() else {}
    if not memory.get("done"):
        raise UserError(
            f"{run} is not a finished run: let `fau-mae run` end first, and give the run's folder"
        )
    return memory


def _section(run: Path, name: str, memory: dict[str, Any], results: pd.DataFrame) -> str:
    """Heading, what was run on whom, tables."""
    labels = [read_labels(folder / "predictions" / "test") for folder in run_folders(run, results).values()]
    tested = pd.concat([table["subject"] for table in labels])
    facts = [
        f"data: {', '.join(sorted(results['dataset'].unique()))}",
        *_seeds_and_folds(results),
        f"{tested.nunique()} test people, {tested.index.nunique()} test faces",
        f"{results['au'].nunique() - 1} action units",
        f"thresholds {', '.join(sorted(results['threshold_rule'].unique()))}",
    ]
    parts = [f"## {name}", "; ".join(facts) + "."]
    if line := _command(memory):
        parts.append(f"`{line}`")
    macro = results[results["au"] == "macro"]
    floor = macro.groupby(["kind", "severity"])["floor_f1"].mean().to_dict()
    ablations = set(memory["settings"].get("ablations") or {}) & set(results["method"])
    curves = bootstrap(run, results)
    parts.append(comparison_tables(curves, floor, ablations))
    if ablations:
        # Often of fewer seeds than the methods: they are compared with the student of the same.
        ablated = results[results["method"].isin(ablations)][["fold", "seed"]].drop_duplicates()
        same = results.merge(ablated, on=["fold", "seed"])
        parts.append(f"### Ablations, mean over severities, {' and '.join(_seeds_and_folds(same))}")
        parts.append(ablation_table(curves if len(same) == len(results) else bootstrap(run, same), ablations))
    return "\n\n".join(parts)


def _seeds_and_folds(results: pd.DataFrame) -> list[str]:
    words = []
    for word in ("seed", "fold"):
        numbers = sorted(results[word].unique())
        words.append(f"{word}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}")
    return words


def _command(memory: dict[str, Any]) -> str | None:
    """The line that repeats a run, ROOT and STORE for folders.

    None where it would name a file of this machine, or the shipped experiment of that name is another one by now.
    """
    settings = {key: value for key, value in memory["settings"].items() if key != "store"}
    try:
        shipped = load_experiment(settings["name"])
        overrides = _overrides(settings, _plain(with_overrides(shipped, []).settings()))
        repeated = _plain(with_overrides(shipped, overrides).settings())
    except UserError:
        return None
    another = any(repeated.get(key) != value for key, value in settings.items())
    if another or any("=/" in text for text in overrides):
        return None
    words = ["fau-mae", "run", settings["name"]]
    if memory["settings"].get("store"):
        words += ["--store", "STORE"]
    elif settings["prepare"]["source"] != "synthetic":
        words += ["--root", "ROOT"]
    for option, i, usual in (("--folds", 0, shipped.folds), ("--seeds", 1, shipped.seeds)):
        numbers = list(dict.fromkeys(pair[i] for pair in memory["done"]))
        words += [option, ",".join(map(str, numbers))] if numbers != usual else []
    words += ["--ablate"] if memory.get("ablated") else []
    return shlex.join(words + (["--set", *overrides] if overrides else []))


def _overrides(settings: dict[str, Any], shipped: dict[str, Any]) -> list[str]:
    """`--set` values that lead from the shipped settings to these, where such values can."""
    changed = [
        f"{section}.{key}={value if isinstance(value, str) else json.dumps(value)}"
        for section in ("prepare", "ladder")
        for key, value in settings[section].items()
        if shipped[section].get(key) != value
    ]
    stages = settings["options"]
    shared: list[str] = next(iter(stages.values()), [])
    if all(lines == shared for lines in stages.values()):
        return changed + [line.removeprefix("--") for line in shared]
    return changed + [
        f"{stage}.{line.removeprefix('--')}" for stage, lines in stages.items() for line in lines
    ]


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(settings))
