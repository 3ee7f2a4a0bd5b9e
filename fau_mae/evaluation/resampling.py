"""Compiled sums over draws of people: how often each of S people counts in each of R draws, as uint16 (S, R).

All sums are of whole and half numbers, which float64 holds exactly: neither their order nor the way taken matters.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fau_mae.metrics import Floats, Ranking

Draws = NDArray[np.uint16]


def auroc_of_draws(ranking: Ranking, person: NDArray[np.int64], draws: Draws) -> Floats:
    """(R,) AUROC of one AU; NaN for a draw without positive or without negative faces.

    Args:
        ranking: of K known faces among N.
        person: (N,) whose face it is.

    AUROC counts the pairs (positive, negative) in the right order, ties as one half; a draw weights them by how often
    both people were drawn. With few people the pairs are counted once per pair of people: K·S + R·S² steps. With many,
    each draw walks down the sorted faces: R·K steps, where the table of pairs would grow with the square of people.
    """
    people, present, ends = person[ranking.faces], ranking.present, ranking.predicted
    count = len(draws)
    faces = np.stack([np.bincount(people[present == value], minlength=count) for value in (True, False)], 1)
    positive, negative = sums_of_draws(faces.astype(np.float64), draws)
    if count**2 < len(people):
        ordered = _sums_of_pairs(_pairs_of_people(people, present, ends, count), draws)
    else:
        ordered = _sums_of_walks(people, present, ends, draws)
    possible = positive * negative
    return np.divide(ordered, possible, out=np.full(draws.shape[1], np.nan), where=possible > 0)


@njit(cache=True, error_model="numpy")
def sums_of_draws(values, draws):
    """(C, R) sums over drawn people of float64 values (S, C)."""
    sums = np.zeros((values.shape[1], draws.shape[1]))
    for person in range(values.shape[0]):
        for column in range(values.shape[1]):
            value = values[person, column]
            if value != 0:
                for draw in range(draws.shape[1]):
                    sums[column, draw] += value * draws[person, draw]
    return sums


@njit(cache=True, error_model="numpy")
def _pairs_of_people(people, present, ends, count):
    """(S, S): pairs of a positive face of the first above a negative one of the second; from faces in falling order.

    `ends`: where each run of equal scores ends.
    """
    pairs = np.zeros((count, count))
    # Of positive faces so far; those of the run at hand count half.
    above = np.zeros(count)
    start = 0
    for stop in ends:
        for half in range(2):
            for face in range(start, stop):
                if present[face]:
                    above[people[face]] += 0.5
            if half == 0:
                for face in range(start, stop):
                    if not present[face]:
                        row = pairs[people[face]]
                        for other in range(count):
                            row[other] += above[other]
        start = stop
    return pairs


@njit(cache=True, error_model="numpy")
def _sums_of_pairs(pairs, draws):
    """(R,) sums of pairs (S, S) over drawn people, each taken as often as both were drawn."""
    sums = np.zeros(draws.shape[1])
    for one in range(len(pairs)):
        inner = np.zeros(draws.shape[1])
        for other in range(len(pairs)):
            value = pairs[one, other]
            if value != 0:
                for draw in range(draws.shape[1]):
                    inner[draw] += value * draws[other, draw]
        for draw in range(draws.shape[1]):
            sums[draw] += inner[draw] * draws[one, draw]
    return sums


@njit(cache=True, error_model="numpy")
def _sums_of_walks(people, present, ends, draws):
    """(R,) pairs in the right order per draw, from faces in falling order; `ends` as above."""
    sums = np.zeros(draws.shape[1])
    above = np.zeros(draws.shape[1])
    start = 0
    for stop in ends:
        for half in range(2):
            for face in range(start, stop):
                if present[face]:
                    row = draws[people[face]]
                    for draw in range(draws.shape[1]):
                        above[draw] += 0.5 * row[draw]
            if half == 0:
                for face in range(start, stop):
                    if not present[face]:
                        row = draws[people[face]]
                        for draw in range(draws.shape[1]):
                            sums[draw] += row[draw] * above[draw]
        start = stop
    return sums
