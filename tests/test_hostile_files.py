"""Every option that takes a file or names an output, of every command, is given every kind of hostile file."""

from pathlib import Path

import pytest
from hostile_drive import Bench, Drive, cases, copy_swept
from hostile_files import HOSTILE, THINGS
from hostile_lines import STAGES, Spot, spots

# A preview of these names is made, which takes half a minute.
PREVIEWS = {"250 letters", "a name that is a formula", "a name that is no UTF-8", "a name with markup"}
PAIRS = [(spot, name) for spot in spots() if spot.takes == "file" for name in HOSTILE] + [
    (spot, name)
    for spot in spots()
    if spot.takes == "output"
    for name in THINGS
    if not (spot.option == "--preview" and name in PREVIEWS)
]


CASES = cases(PAIRS, lambda spot: (16 if spot.command in STAGES else 4) if spot.takes == "file" else 2)


RESUMED = [case for case in CASES if case.values[0].option == "--ckpt_path"]
CASES = [case for case in CASES if case not in RESUMED]


@pytest.mark.slow
@pytest.mark.parametrize(("spot", "name"), RESUMED)
def test_hostile_file_to_go_on_from(drive: Drive, bench: Bench, spot: Spot, name: str) -> None:
    drive(spot, [str(bench.hostile[name])])


@pytest.mark.parametrize(("spot", "name"), CASES)
def test_hostile_file(drive: Drive, bench: Bench, tmp_path: Path, spot: Spot, name: str) -> None:
    """What is written over is the case's own."""
    path = HOSTILE[name](tmp_path) if spot.takes == "output" else bench.hostile[name]
    if (spot.command, spot.option) == ("sweep", "--out"):
        copy_swept(tmp_path, path)
    drive(spot, [str(path)])


def test_every_place_for_a_file_and_every_file_is_driven_always() -> None:
    always = [case.values for case in [*CASES, *RESUMED] if not case.marks]
    assert {spot for spot, _ in always} == {spot for spot in spots() if spot.takes in ("file", "output")}
    assert {name for _, name in always} == set(HOSTILE)
