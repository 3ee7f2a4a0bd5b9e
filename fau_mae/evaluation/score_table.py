"""Score an AU table of any model, made anywhere, by this project's metrics and threshold rules."""

from pathlib import Path
from typing import Any

import pandas as pd

from data_modules.errors import UserError
from data_modules.files import check_folder, file_hash, folder_aside, write_parquet
from fau_mae.evaluation.made_by import claim, refuse_others
from fau_mae.evaluation.names import CLEAN_KIND
from fau_mae.evaluation.predictions import AU_COLUMN
from fau_mae.evaluation.scoring import ThresholdRule, score_predictions

DEFAULTS = {"subject": "unknown", "method": "model", "kind": CLEAN_KIND, "severity": 0.0, "split": "test"}
SPLITS = ("validation", "test")
LABEL_SUFFIX = "_label"


def evaluate_predictions(
    table: Path, out: Path, labels: Path | None = None, dataset: str = "unnamed", method: str = "model"
) -> pd.DataFrame:
    """Score a table of predictions -> the results table, left in `out` together with the predictions.

    `table` (.csv or .parquet) has one row per face, method and occlusion: `sample_id` (integer), `AU<n>` =
    probability, and the truth as `AU<n>_label` (1, 0, or -1 / empty for unknown) or in a file of its own,
    `labels`, with `sample_id` and `AU<n>` columns. Optional: `subject` (needed for intervals), `hidden`,
    `method`, `kind`, `severity`, and `split`; `subject` and `split` may stand with the labels instead, and `method` is
    the one given where the table has none. With rows of split `validation` thresholds are chosen there, by
    visibility; without any, the threshold is .5. `fau-mae report` takes `out` like an experiment.

    Raises:
        UserError: a file cannot be read, a column is missing, a value is not what its column says, or `out` holds
            another table's predictions.
    """
    check_folder(out, [table] if labels is None else [table, labels])
    frame = _read(table)
    if labels is None:
        truth = _labels_within(frame, table)
    else:
        known = _read(labels)
        truth = _labels_of(known, labels)
        frame = _with_people(frame, known)
    if "method" not in frame:
        frame["method"] = method
    aus = list(truth.columns)
    frame = _checked(frame, aus, table)
    if unlabelled := set(frame["sample_id"]) - set(truth.index):
        raise UserError(f"{labels or table} has no labels for sample_id {min(unlabelled)}: add its row")
    rule: ThresholdRule = "by_visibility" if (frame["split"] == "validation").any() else "fixed"
    made_by = _made_by(table, labels)
    refuse_others(out, made_by)
    with folder_aside(out) as part:
        claim(part, made_by)
        for split, rows in frame.groupby("split"):
            _write_split(rows, truth, part / "predictions" / str(split))
        results = score_predictions(
            part, experiment=table.stem, dataset=dataset, fold=0, seed=0, threshold_rule=rule
        )
        write_parquet(part / "results.parquet", results)
    return results


def _made_by(table: Path, labels: Path | None) -> dict[str, Any]:
    return {
        "command": "evaluate-predictions",
        "table": f"{table.name} {file_hash(table)[:16]}",
        "labels": None if labels is None else f"{labels.name} {file_hash(labels)[:16]}",
    }


def _read(path: Path) -> pd.DataFrame:
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise UserError(f"{path}: expected a .csv or .parquet file")
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        frame = readers[path.suffix](path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if "sample_id" not in frame.columns:
        raise UserError(f"{path} lacks the column sample_id; it has {', '.join(map(str, frame.columns[:8]))}")
    if frame["sample_id"].dtype.kind not in "iu":
        raise UserError(f"{path}: sample_id must be a whole number in every row")
    return frame


def _with_people(frame: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns `subject` and `split` of its labels, where it has none of its own."""
    columns = [name for name in ("subject", "split") if name in known and name not in frame]
    faces = known.drop_duplicates("sample_id").set_index("sample_id")[columns]
    return frame.join(faces, on="sample_id")


def _labels_within(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    names = {c: c.removesuffix(LABEL_SUFFIX) for c in frame.columns if c.endswith(LABEL_SUFFIX)}
    if not names:
        raise UserError(f"{path} has no AU<n>{LABEL_SUFFIX} columns: add them, or give a labels file")
    return _labels_of(frame[["sample_id", *names]].rename(columns=names), path)


def _labels_of(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Index sample_id, int8 columns AU<n>: 1 / 0 / -1."""
    aus = [column for column in frame.columns if AU_COLUMN.fullmatch(column)]
    if not aus:
        raise UserError(f"{path} has no AU<n> columns of labels")
    labels = frame.drop_duplicates("sample_id").set_index("sample_id")[aus].fillna(-1)
    if not labels.isin([-1, 0, 1]).all(axis=None):
        raise UserError(f"{path}: labels must be 1, 0 or -1 (unknown), not intensities or text")
    return labels.astype("int8")


def _checked(frame: pd.DataFrame, aus: list[str], path: Path) -> pd.DataFrame:
    """The table with its optional columns filled in, all values as they have to be."""
    if missing := [au for au in aus if au not in frame.columns]:
        raise UserError(f"{path} has labels but no probabilities for {', '.join(missing)}: add these columns")
    if not frame[aus].map(lambda p: isinstance(p, int | float) and 0 <= p <= 1).all(axis=None):
        raise UserError(f"{path}: the AU columns must be probabilities between 0 and 1, without gaps")
    frame = frame.reindex(columns=["sample_id", *DEFAULTS, "hidden", *aus]).fillna(DEFAULTS)
    if not frame["split"].isin(SPLITS).all() or not (frame["split"] == "test").any():
        raise UserError(f"{path}: split must be validation or test in every row, test in at least one")
    if not pd.to_numeric(frame["severity"], errors="coerce").between(0, 1).all():
        raise UserError(f"{path}: severity must be a share between 0 and 1")
    if bad := sorted({str(v) for c in ("method", "kind") for v in frame[c] if not str(v).isidentifier()}):
        raise UserError(
            f"{path}: method and kind must be plain names of letters, digits and _, not {bad[0]!r}"
        )
    frame["hidden"] = frame["hidden"].fillna(frame["severity"])
    return frame.astype({"severity": float, "subject": str})


def _write_split(rows: pd.DataFrame, truth: pd.DataFrame, folder: Path) -> None:
    """One split in the layout that the occlusion ladder writes."""
    people = rows.drop_duplicates("sample_id").set_index("sample_id")[["subject"]]
    write_parquet(folder / "labels.parquet", people.join(truth).reset_index())
    columns = ["sample_id", "subject", "hidden", *truth.columns]
    for (method, kind, severity), cell in rows.groupby(["method", "kind", "severity"]):
        path = folder / f"{method}-none" / f"{kind if severity else CLEAN_KIND}-{severity:.2f}.parquet"
        write_parquet(path, cell[columns])
