"""`fau-mae results`: the tables of finished runs, between two markers of a Markdown document, and as CSV beside it."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data_modules.errors import UserError
from data_modules.files import check_file, read_text, write_csv, write_text
from fau_mae.evaluation.bootstrap import REPLICATES
from fau_mae.evaluation.scored_run import ScoredRun, Watch, read_run
from fau_mae.evaluation.scoring import KEYS
from fau_mae.reports.markdown import ablation_table, comparison_tables, escaped
from fau_mae.run_folder import RunMemory, read_memory

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
FIGURES = f"""\
Figures: means over action units, folds and seeds, by the hidden share of the face; mean: over the shares above 0. In
brackets: 95 % interval over test people ({REPLICATES:,} draws), which says what other people might have shown, not what
training again might have learnt. Mask: `oracle`: told the true one; `blind`: estimates it; `none`: uses none.
Differences: paired on the same faces and masks; **bold**: the interval excludes 0. —: not measured."""
EXPLANATION = f"From here to the end of the tables, `fau-mae results` writes. {FIGURES}"


def write_results(folders: Sequence[Path], out: Path, watch: Watch = iter) -> None:
    """Replace the tables of a Markdown document, or add them, and write the figures beside it as CSV.

    Args:
        folders: of finished runs, with their predictions.
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
    memories = [_memory(folder) for folder in folders]
    sections, figures = [], []
    for folder, name, memory in zip(folders, _names(folders, memories), memories):
        run = read_run(folder, watch)
        sections.append(section(run, name, memory))
        figures.append(run.results[run.results["au"] == "macro"].assign(experiment=name))
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


def _names(runs: Sequence[Path], memories: Sequence[RunMemory]) -> list[str]:
    """The experiments' names, with the run's folder where several are of one experiment."""
    names = [memory.name for memory in memories]
    several = [
        name if names.count(name) == 1 else f"{name} ({run.resolve().name})" for name, run in zip(names, runs)
    ]
    if twice := [name for name in several if several.count(name) > 1]:
        raise UserError(f"two runs are called {twice[0]}: give each once, and folders of different names")
    return several


def _memory(run: Path) -> RunMemory:
    """`run.json` of a finished run."""
    memory = read_memory(run)
    if memory is None or not memory.done:
        raise UserError(
            f"{run} is not a finished run: let `fau-mae run` end first, and give the run's folder"
        )
    return memory


def section(run: ScoredRun, name: str, memory: RunMemory) -> str:
    """Heading, what was run on whom, and tables, of one run, in Markdown."""
    results = run.results
    facts = [
        f"data: {escaped(', '.join(sorted(results['dataset'].unique())))}",
        *_seeds_and_folds(results),
        f"{len(run.people)} test people, {len(run.faces)} test faces",
        f"{results['au'].nunique() - 1} action units",
        f"thresholds {', '.join(sorted(results['threshold_rule'].unique()))}",
    ]
    parts = [f"## {escaped(name)}", "; ".join(facts) + "."]
    if line := _command(memory):
        parts.append(f"`{line}`")
    macro = results[results["au"] == "macro"]
    floor = macro.groupby(["kind", "severity"])["floor_f1"].mean().to_dict()
    ablations = set(memory.ablations) & set(results["method"])
    parts.append(comparison_tables(run.curves(), floor, ablations))
    if ablations:
        # Often of fewer seeds than the methods: they are compared with the student of the same.
        ablated = results[results["method"].isin(ablations)][["fold", "seed"]].drop_duplicates()
        same = results.merge(ablated, on=["fold", "seed"])
        parts.append(f"### Ablations, mean over severities, {' and '.join(_seeds_and_folds(same))}")
        parts.append(ablation_table(run.curves(set(ablated.itertuples(index=False, name=None))), ablations))
    return "\n\n".join(parts)


def _seeds_and_folds(results: pd.DataFrame) -> list[str]:
    words = []
    for word in ("seed", "fold"):
        numbers = sorted(results[word].unique())
        words.append(f"{word}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}")
    return words


def _command(memory: RunMemory) -> str | None:
    """The line that repeats a run, ROOT and STORE for folders.

    None where it would name a file of this machine, or an older version did not keep the line.
    """
    given = memory.given
    if not given or any("=/" in text for text in given["set"]) or given["mae"] or "/" in given["experiment"]:
        return None
    words = ["fau-mae", "run", given["experiment"]]
    words += ["--store", "STORE"] if given["store"] else []
    words += ["--root", "ROOT"] if given["root"] else []
    for option in ("folds", "seeds"):
        words += [f"--{option}", ",".join(map(str, given[option]))] if given[option] else []
    words += ["--ablate"] if given["ablate"] else []
    return shlex.join(words + (["--set", *given["set"]] if given["set"] else []))
