"""Subject-exclusive folds: published parts where a data set has them, k-fold by subject elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from data_modules.errors import UserError
from data_modules.ranges import BELOW_1, FROM_0, check_fields
from data_modules.stores.store import FaceStore
from data_modules.streams import keyed_generator


class Split(NamedTuple):
    """Row numbers of a store; no subject is in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class LabelConfig:
    """Whose labels training uses.

    Args:
        subjects: training subjects, chosen by the data module's `seed`, whose labels are used; 0 = all of them.
        with_unlabelled: the other training subjects take part too, their labels taken for unknown.
        share: with them, labelled faces are repeated until they make up at least this share of an epoch.
    """

    subjects: Annotated[int, FROM_0] = 0
    with_unlabelled: bool = False
    share: Annotated[float, BELOW_1] = 0.0

    def __post_init__(self) -> None:
        """Raises `UserError` for a value out of its range."""
        check_fields(self, "data.labels")


def split_rows(store: FaceStore, fold: int, num_folds: int, val_share: float, seed: int) -> Split:
    """Rows of fold `fold` (1-based): the test subjects, and validation subjects split off the training ones.

    A store with published parts (1..3) uses them: the test of fold 1 is part 3, of fold 2 part 2, of fold 3
    part 1, as the BP4D and DISFA literature has it. Any other store is cut by subject into `num_folds` parts of
    nearly equal size, by a stream that is the same for all runs. The validation subjects depend on `seed`.
    Raises `UserError` for a fold that does not exist and for too few subjects.
    """
    subjects = store.column("subject")
    parts = store.info.parts or _parts_by_subject(np.unique(subjects), num_folds, store.path)
    count = max(parts.values())
    if not 1 <= fold <= count:
        raise UserError(f"fold {fold} does not exist in {store.path}: it has folds 1 to {count}")
    if missing := sorted(set(subjects) - set(parts)):
        raise UserError(
            f"{store.path}: subjects {', '.join(missing[:5])} are in no fold; prepare the store again"
        )
    test_subjects = {subject for subject, part in parts.items() if part == count + 1 - fold}
    if not test_subjects.intersection(subjects):
        raise UserError(
            f"{store.path} holds nobody of part {count + 1 - fold}, whom fold {fold} is tested on: use another fold"
        )
    rest = np.array(sorted(set(subjects) - test_subjects))
    keyed_generator("validation", seed, fold).shuffle(rest)
    val_count = max(1, round(val_share * len(rest)))
    if len(rest) <= val_count:
        raise UserError(f"{store.path} has {len(rest)} subjects to train fold {fold} on: too few to split")
    split = Split(
        _rows(subjects, rest[val_count:]), _rows(subjects, rest[:val_count]), _rows(subjects, test_subjects)
    )
    for one, other in ((0, 1), (0, 2), (1, 2)):
        if leak := set(subjects[split[one]]) & set(subjects[split[other]]):
            raise UserError(f"{store.path}: subject {min(leak)} is in two splits of fold {fold}")
    return split


def labelled_rows(store: FaceStore, train: np.ndarray, labels: LabelConfig, seed: int) -> np.ndarray:
    """The rows of `train` whose subjects are the first `labels.subjects` in an order keyed by `seed`; all for 0.

    A greater number adds subjects to those of a smaller one. Raises `UserError` for more subjects than there are.
    """
    count = labels.subjects
    if not count:
        return train
    subjects = store.column("subject")[train]
    known = np.unique(subjects)
    if count > len(known):
        raise UserError(f"data.labels.subjects is {count}, but {store.path} has {len(known)} to train on")
    return train[np.isin(subjects, keyed_generator("labelled", seed).permutation(known)[:count])]


def _parts_by_subject(subjects: np.ndarray, num_folds: int, path: object) -> dict[str, int]:
    if len(subjects) < num_folds:
        raise UserError(
            f"{path} has {len(subjects)} subjects, too few for {num_folds} folds: lower num_folds"
        )
    order = keyed_generator("folds").permutation(subjects)
    return {str(subject): 1 + place % num_folds for place, subject in enumerate(order)}


def _rows(subjects: np.ndarray, chosen: Iterable[str]) -> np.ndarray:
    return np.flatnonzero(np.isin(subjects, list(chosen)))
