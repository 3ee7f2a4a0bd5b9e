"""Every column that looks like an action unit is read as what it means, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fixtures_datasets import numbered_frame

from data_modules.errors import UserError
from data_modules.sources.au_columns import AUColumn, parse_au_column
from data_modules.stores.store import FaceStore

Run = Callable[..., int]


@pytest.fixture
def prepare(fau_mae: Run, tmp_path: Path) -> Callable[[str], int]:
    """Store three pictures with this table through the command line -> exit code."""
    for name in ("a", "b", "c"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f"raw/{name}/1.png"), numbered_frame(1)[..., ::-1])

    def run(text: str) -> int:
        (tmp_path / "labels.csv").write_text(text)
        options = ["--labels", "labels.csv", "--size", 64, "--workers", 1]
        return fau_mae("prepare", "folder", "--root", "raw", "--out", "s", *options)

    return run


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("AU9", (9, False, "")),
        ("au_017", (17, False, "")),
        ("Au-26", (26, False, "")),
        ("action unit 4", (4, False, "")),
        (" AU06_C ", (6, False, "")),
        ("AU45_r", (45, True, "")),
        ("au15_INTENSITY", (15, True, "")),
        ("AU10 left", (10, False, "left")),
        ("AU2R", (2, False, "right")),
        ("AU14_L_intensity", (14, True, "left")),
        ("ActionUnit20_presence", (20, False, "")),
    ],
)
def test_spellings(name: str, meant: tuple) -> None:
    assert parse_au_column(name) == AUColumn(*meant)


@pytest.mark.parametrize(
    "name", ["author", "aux", "success", "confidence", "gaze_0_x", "", "0", "Unnamed: 0"]
)
def test_other_columns_are_let_be(name: str) -> None:
    assert parse_au_column(name) is None


@pytest.mark.parametrize(
    "name", ["AU12_conf", "AU0", "AU1.1", "AU12_R", "au123", "AU4 (occ)", "12", "AU25x", "AU_6_7", "AU1+2"]
)
def test_what_looks_like_an_au_and_is_none_is_refused(prepare, capsys, name: str) -> None:
    assert prepare(f"file,AU4,{name}\na/1.png,1,1\n") == 2
    said = capsys.readouterr().err
    assert repr(name) in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("AU7,AU07", "'AU7' and 'AU07' are both AU7"),
        ("au17_r,AU17_Intensity", "both AU17 intensity"),
        ("AU5,AU_5_c", "both AU5"),
        ("AU6L,au6_left", "both AU6, left side"),
        ("AU12,AU12", "two columns named AU12"),
        ("AU9,AU9L", "AU9 is given for the whole face and by side"),
    ],
)
def test_one_au_in_two_columns_is_refused(prepare, capsys, header: str, says: str) -> None:
    assert prepare(f"file,{header}\na/1.png,1,0\n") == 2
    assert says in capsys.readouterr().err


def test_values_come_under_their_aus(prepare, tmp_path: Path) -> None:
    """OpenFace's and mixed spellings, sides, an AU with an intensity only, AUs in any order."""
    header = "file,au25_c,AU25_r,AU06,aU_4,AU12L,AU12R,AU17_intensity,confidence"
    rows = ["a/1.png,1.00,2.5,0,1,0,1,3,.9", "b/1.png,0,,1,,0,0,,.9", "c/1.png,,0,NA,0,0,,5,.9"]
    assert prepare("\n".join([header, *rows])) == 0
    store = FaceStore(tmp_path / "s")
    assert store.info.aus == (4, 6, 12, 17, 25)
    assert store.column("labels").tolist() == [[1, 0, 1, -1, 1], [-1, 1, 0, -1, 0], [0, -1, -1, -1, -1]]
    nan = np.nan
    np.testing.assert_array_equal(
        store.column("intensity"), [[nan] * 3 + [3, 2.5], [nan] * 5, [nan] * 3 + [5, 0]]
    )


def test_an_au_column_and_a_header_only_table(prepare, capsys) -> None:
    assert prepare("file,subject,AU12\n") == 2 and "has a header and no rows" in capsys.readouterr().err
    assert prepare("\n\n") == 2 and "is empty" in capsys.readouterr().err


def test_refusals_are_user_errors() -> None:
    with pytest.raises(UserError, match="looks like an action unit"):
        parse_au_column("AU12_std")


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        ("AU12,AU12_intensity", "1,0", "line 3: AU12 is 1 and its intensity 0 (1 such rows"),
        ("AU4_c,AU04_r", "0,2", "line 3: AU4 is 0 and its intensity 2"),
        ("au6_presence,AU6_Intensity,AU9", "0,4.5,1", "line 3: AU6 is 0 and its intensity 4.5"),
        ("AU20L,AU20R,AU20_intensity", "0,1,0", "line 3: AU20 is 1 and its intensity 0"),
    ],
)
def test_a_presence_that_its_intensity_contradicts_is_refused(prepare, capsys, header, row, says) -> None:
    empty = "," * header.count(",")
    assert prepare(f"file,{header}\na/1.png,{empty}\nb/1.png,{row}\n") == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


def test_an_intensity_that_agrees_by_either_convention_is_kept(prepare, tmp_path: Path) -> None:
    """Absent with 1, as in DISFA; present with 1 or less than that, as FACS has it and as OpenFace estimates."""
    rows = ["a/1.png,0,1.9", "b/1.png,1,0.2", "c/1.png,,5"]
    assert prepare("\n".join(["file,AU12,AU12_intensity", *rows])) == 0
    assert FaceStore(tmp_path / "s").column("labels").tolist() == [[0], [1], [-1]]
