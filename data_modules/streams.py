"""Random streams that follow from a key alone: the same for every machine, worker, rank and order."""

import hashlib

import numpy as np


class Draws:
    """A stream of random numbers in [0, 1) that follows from a key alone.

    It is read off SHAKE-128, so it is the same on every machine and with every version of every library;
    NumPy's generators promise the first but not the second.
    """

    def __init__(self, *key: object):
        self._key, self._calls = "/".join(map(str, key)), 0
        self._ready: list[float] = []

    def uniforms(self, count: int) -> np.ndarray:
        """The next `count` numbers, (count,) float64 in [0, 1)."""
        self._calls += 1
        digest = hashlib.shake_128(f"{self._key}/{self._calls}".encode()).digest(4 * count)
        return np.frombuffer(digest, "<u4") * 2.0**-32

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        if not self._ready:
            self._ready = self.uniforms(16).tolist()
        return low + (high - low) * self._ready.pop()

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return int(self.uniform() * count)

    def order(self, count: int) -> np.ndarray:
        """The numbers 0 to count - 1 shuffled, (count,) int64."""
        return self.uniforms(count).argsort(kind="stable")


def keyed_generator(*key: object) -> np.random.Generator:
    """A NumPy generator that depends on `key` alone, for all that is no mask of the protocol (see `Draws`)."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))
