"""JoinedStores: faces of a store and of further ones without labels, numbered through; the store's own come first."""

import hashlib
from collections.abc import Collection, Sequence

import cv2
import numpy as np

from data_modules.errors import UserError
from data_modules.stores.store import FaceStore


class JoinedStores:
    """Rows 0 to len(store) - 1 are those of `store`; behind them come those of each of `unlabelled`, in turn.

    Labels and intensities of the latter are never read. No two rows share a sample id, and two rows share a subject
    where they show one person: of one population and one name, see `StoreInfo.population`.
    Raises `UserError` for a store that is cropped otherwise, or given twice.
    """

    def __init__(self, store: FaceStore, unlabelled: Sequence[FaceStore] = ()):
        self.store = store
        self._stores = (store, *unlabelled)
        self._starts = np.cumsum([0, *map(len, self._stores)])
        known = {store.fingerprint}
        for other in unlabelled:
            if other.fingerprint in known:
                raise UserError(
                    f"data.unlabelled: {other.path} is given twice, or is the labelled store itself"
                )
            check_crop(other, store.info.preset)
            known.add(other.fingerprint)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows_of(self, place: int, without: Collection[str] = ()) -> np.ndarray:
        """Rows of unlabelled store `place`, but for those of the people named in `without`."""
        there = ~np.isin(self._stores[place + 1].column("subject").astype(str), list(without))
        return self._starts[place + 1] + np.flatnonzero(there)

    def sample_ids(self) -> np.ndarray:
        """(rows,) int64. Stores of one data set may number their frames alike, so those without labels are renamed."""
        own, *others = (store.column("sample_id") for store in self._stores)
        keys = [_key(store.fingerprint) for store in self._stores[1:]]
        return np.concatenate([own, *(ids ^ key for ids, key in zip(others, keys))])

    def subjects(self) -> np.ndarray:
        """A number per person, (rows,) int64."""
        known: dict[tuple[str, str], int] = {}
        rows = []
        for store in self._stores:
            names, places = np.unique(store.column("subject"), return_inverse=True)
            people = [(store.info.population, str(name)) for name in names]
            rows.append(np.array([known.setdefault(person, len(known)) for person in people])[places])
        return np.concatenate(rows).astype(np.int64)

    def known(self, column: str, unknown: float) -> np.ndarray:
        """`labels` or `intensity`, (rows, A): the store's own, `unknown` for all others."""
        own = self.store.column(column)
        return np.concatenate([own, np.full((len(self) - len(own), own.shape[1]), unknown, own.dtype)])

    def picture(self, index: int, size: int) -> np.ndarray:
        """Picture `index` in `size` pixels a side, uint8 RGB (size, size, 3)."""
        store, row = self._at(index)
        image = store.image(row)
        if image.shape[0] != size:
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return image

    def landmarks(self, index: int, size: int) -> np.ndarray | None:
        """Its landmarks in that picture's pixels, (P, 2) x, y; None if unknown."""
        store, row = self._at(index)
        landmarks = store.landmarks(row)
        return None if landmarks is None else landmarks * (size / store.info.size)

    def _at(self, index: int) -> tuple[FaceStore, int]:
        place = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._stores[place], index - int(self._starts[place])


def check_crop(unlabelled: FaceStore, preset: str) -> None:
    """Raise `UserError` where the faces of an unlabelled store are not cropped by `preset`, as those beside it."""
    if unlabelled.info.preset != preset:
        raise UserError(
            f"data.unlabelled: {unlabelled.path} is cropped by {unlabelled.info.preset}, the labelled faces by "
            f"{preset}: prepare it with --preset {preset}"
        )


def _key(fingerprint: str) -> np.int64:
    """63 bits that tell a store's frames from those of any other."""
    digest = hashlib.blake2b(fingerprint.encode(), digest_size=8).digest()
    return np.int64(int.from_bytes(digest, "big") >> 1)
