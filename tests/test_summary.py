"""The `--check` report tells what a store holds and what it lacks."""

from pathlib import Path

import cv2
import pytest
from fixtures_datasets import bp4d_codes, numbered_frame, write_bp4d

from data_modules.bp4d import prepare_bp4d
from data_modules.facs import BP4D_AUS
from data_modules.folder import prepare_folder
from data_modules.stores.store import FaceStore
from data_modules.stores.summary import summarise, summary_text, write_summary_page


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FaceStore:
    folder = tmp_path_factory.mktemp("summary")
    raw = write_bp4d(folder / "raw", frames=3)
    (raw / "Sequences(2D+3D)/F001/T1/2.jpg").unlink()
    odd = raw / "Sequences(2D+3D)/F003/T2/003.jpg"
    cv2.imwrite(str(odd), cv2.resize(cv2.imread(str(odd)), (480, 360)))
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
    for report in (text, page):
        assert "1 of 11 pictures are not 320×240" in report
        assert "F003_T2: 1 of 480×360, the first is frame 3" in report
    assert "http" not in page  # self-contained


def test_sources_of_one_size_and_of_many(tmp_path: Path) -> None:
    raw = write_bp4d(tmp_path / "raw", [("F001", "T1")], frames=2)
    same = prepare_bp4d(raw, tmp_path / "same", size=64, workers=1, progress=False)
    assert "every picture of the source has the same size" in summary_text(summarise(same))
    for number in range(60):
        side = 240 + number
        (tmp_path / f"many/{number}").mkdir(parents=True)
        picture = cv2.resize(numbered_frame(number), (side, side))
        cv2.imwrite(str(tmp_path / f"many/{number}/1.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    many = prepare_folder(tmp_path / "many", tmp_path / "s", size=64, workers=1, progress=False)
    lines = summarise(many).odd_sizes
    assert lines[0] == "59 of 60 pictures are not 240×240" and lines[-1] == "and 19 lines more"
