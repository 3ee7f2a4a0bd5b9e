"""The `--check` report tells what a store holds and what it lacks."""

from pathlib import Path

import pytest
from fixtures_datasets import bp4d_codes, write_bp4d

from data_modules.bp4d import prepare_bp4d
from data_modules.facs import BP4D_AUS
from data_modules.store import FaceStore
from data_modules.summary import summarise, summary_text, write_summary_page


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    folder = tmp_path_factory.mktemp("summary")
    raw = write_bp4d(folder / "raw", frames=3)
    (raw / "Sequences(2D+3D)/F001/T1/2.jpg").unlink()
    return prepare_bp4d(raw, folder / "s", size=64, workers=1, progress=False)


def test_the_figures_are_those_of_the_labels(store: FaceStore) -> None:
    summary = summarise(store)
    assert summary.part_names == ["part 1", "part 2", "part 3", "all"]
    assert summary.rows == [5, 3, 3, 11] and summary.subjects == [2, 1, 1, 4]
    codes = bp4d_codes("F003", "T2", 3)  # all of part 2
    for column in range(len(BP4D_AUS)):
        known = codes[:, column][codes[:, column] != 9]
        assert summary.rates[1, column] == pytest.approx(known.mean())
    assert summary.skipped == [("picture missing", 1)]


def test_text_and_page_name_everything(store: FaceStore, tmp_path: Path) -> None:
    summary = summarise(store)
    text = summary_text(summary)
    assert "11 of 12 frames, 64×64" in text and "picture missing" in text and "AU24" in text
    write_summary_page(store, summary, tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text()
    assert "F001_T1: picture missing, frames 2" in page and "data:image/jpeg;base64," in page
    assert "http" not in page  # self-contained
