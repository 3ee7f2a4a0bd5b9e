"""Every option that takes a value, of every command, is given every kind of hostile value."""

import pytest
from hostile_drive import Drive, cases
from hostile_lines import FLAG, GOOD, STAGES, Spot, commands, spots

from fau_mae.cli import _parser

VALUES = {
    "nothing": "",
    "a space": " ",
    "no number": "nan",
    "without end": "inf",
    "below 0": "-1",
    "0": "0",
    "a share": "0.5",
    "beyond a float": "1e309",
    "hexadecimal": "0x2",
    "huge": "999999999999",
    "a picture": "😀",
    "no UTF-8": "\udcff",
    "a way up": "../..",
    "very long": "x" * 10_000,
    "half a list": "[1,",
    "a mapping": "{a: 1}",
    "an option": "--help",
    "a code of the terminal": "\x1b[31m",
    "two lines": "1\n2",
}
# That a reader of YAML stumbles over.
YAML = {
    "a tag that lies": "!!int x",
    "a key that is nothing": "{~: ~}",
    "very deep": "[" * 5000,
    "more than fits": "[&a [1,1,1,1,1,1,1,1,1],"
    + "".join(f"&{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]," for n in range(9))
    + "0]",
}
ALL = spots()
PAIRS = [(spot, name) for spot in ALL if spot.takes == "value" for name in VALUES]
CASES = cases([pair for pair in PAIRS if pair[0].command not in STAGES], lambda spot: 1)
# Of a stage's some hundred settings, which cost half a second each; the three stages have the same.
SETTINGS = cases(
    [pair for pair in PAIRS if pair[0].command in STAGES],
    lambda spot: len(VALUES) * (1 if spot.command == "fit" else 4),
)


@pytest.mark.parametrize(("spot", "name"), CASES)
def test_hostile_value(drive: Drive, spot: Spot, name: str) -> None:
    drive(spot, [VALUES[name]])


@pytest.mark.parametrize(
    ("key", "name"),
    [("ladder.severities", name) for name in VALUES]
    + [(key, name) for key in ("ladder.severities", "prepare.size", "trainer.max_epochs") for name in YAML],
)
def test_hostile_override(drive: Drive, key: str, name: str) -> None:
    drive(Spot("run", "--set", "value"), [f"{key}={(VALUES | YAML)[name]}"])


@pytest.mark.parametrize("name", YAML)
def test_hostile_yaml(drive: Drive, name: str) -> None:
    assert drive(Spot("fit", "--trainer.max_epochs", "value"), [YAML[name]]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("spot", "name"), SETTINGS)
def test_hostile_setting(drive: Drive, spot: Spot, name: str) -> None:
    drive(spot, [VALUES[name]])


@pytest.mark.parametrize("spot", [spot for spot in ALL if spot.takes == FLAG], ids=str)
def test_a_flag_takes_no_value(drive: Drive, spot: Spot) -> None:
    assert drive(spot, ["1"]) == 2


@pytest.mark.parametrize("spot", [spot for spot in ALL if spot.many], ids=str)
def test_a_list_may_say_a_thing_twice(drive: Drive, spot: Spot) -> None:
    drive(spot, GOOD[spot.command].get(spot.option, ["x"])[:1] * 2)


def test_every_command_has_a_good_line_and_every_option_is_driven() -> None:
    assert {name for name, _ in commands(_parser())} == set(GOOD)
    driven = {(spot.command, spot.option) for spot, _ in (case.values for case in [*CASES, *SETTINGS])}
    wanted = {(spot.command, spot.option) for spot, _ in PAIRS if spot.command not in ("validate", "test")}
    assert wanted <= driven and len(CASES) > 300


@pytest.mark.parametrize("command", sorted(GOOD))
def test_the_good_line_is_good(drive: Drive, command: str) -> None:
    """Else every hostile one would be refused for another reason than its own."""
    assert drive(Spot(command, "", FLAG), None) == 0
