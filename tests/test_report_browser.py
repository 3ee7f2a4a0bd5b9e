"""The report in a real browser, at the width of a desk and of a phone, in light and dark."""

import shutil
from pathlib import Path

import fixtures_results as fixtures
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from fau_mae.evaluation.scored_run import read_run
from fau_mae.reports.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
FLAGS += ("disable-background-networking", "disable-component-update")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no Chromium with its driver on this machine (chromium, chromium-driver)",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(report_page):
    return report_page


def show(browser, page: Path, width: int, theme: str = "light") -> None:
    """Load a page as a screen of this width would, under a system in this theme."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    browser.get(page.as_uri())


def find(browser, selector: str):
    return browser.find_element(By.CSS_SELECTOR, selector)


def press(browser, selector: str) -> None:
    """As a finger does: bring the place into view first."""
    button = find(browser, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", button)
    button.click()


def texts(browser, selector: str) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((n) => n.textContent.trim())", selector
    )


def column(browser, section: str, n: int) -> list[float]:
    """Leading numbers of a column; its interval stands below it in small."""
    cells = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((n) => n.firstChild.textContent)",
        f"#{section} tbody tr:not(.floor) td:nth-child({n})",
    )
    return [float(cell.replace("−", "-")) for cell in cells]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_breaks_or_overflows(browser, page, width):
    show(browser, page, width)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    headings = texts(browser, "main section:not([hidden]) h2")
    assert headings == [
        *("Which holds up best", "All figures", "Against severity", "Robustness", "Differences"),
        *("Oracle against blind", "Per action unit", "Hidden and visible action units", "Calibration"),
        *("Example faces", "Folds and seeds", "Training", "Time and memory", "Settings", "Terms"),
    ]
    assert browser.execute_script("return document.querySelectorAll('svg.chart [d*=NaN]').length") == 0
    # No text of a chart runs out of it, nor over its neighbour on the same line.
    clashes = """
      const boxes = (chart) => [...chart.querySelectorAll('text')]
        .map((t) => [t.getBoundingClientRect(), t.textContent]);
      return [...document.querySelectorAll('svg.chart')].flatMap((chart) => {
        const frame = chart.getBoundingClientRect(), all = boxes(chart);
        const out = all.filter(([b]) => b.left < frame.left - 1 || b.right > frame.right + 1);
        const over = all.filter(([a], i) => all.some(([b], j) => j > i && Math.abs(a.top - b.top) < 2
          && a.left < b.right - 1 && b.left < a.right - 1));
        return [...out, ...over].map(([, text]) => text);
      });"""
    assert browser.execute_script(clashes) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_tables_sort_both_ways(browser, page, width):
    show(browser, page, width)
    heading = "#headline thead tr:last-child th:nth-child(3)"
    press(browser, f"{heading} button")
    values = column(browser, "headline", 3)
    assert len(values) == 10 and values == sorted(values, reverse=True)
    assert find(browser, heading).get_attribute("aria-sort") == "descending"
    press(browser, f"{heading} button")
    assert column(browser, "headline", 3) == values[::-1]
    press(browser, "#headline thead tr:last-child th:nth-child(1) button")
    names = texts(browser, "#headline tbody td:first-child")
    assert [name[:5] for name in names] == sorted(name[:5] for name in names)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1280])
def test_filters_reach_every_section(browser, page, width):
    show(browser, page, width)
    rows = "#headline tbody tr"
    assert len(texts(browser, rows)) == 10
    press(browser, "[data-key='method clean']")
    assert len(texts(browser, rows)) == 8
    press(browser, "[data-key='mask blind']")
    assert len(texts(browser, rows)) == 6
    assert "No method shown was also measured blind" in find(browser, "#blind").text
    press(browser, "[data-key='run 1']")
    assert len(texts(browser, rows)) == 3 and not find(browser, "#runs").is_displayed()
    press(browser, "[data-key='kind patches']")
    groups = texts(browser, "#headline th.group")
    assert groups == ["clean", "block"]
    assert len(texts(browser, "#curves svg.chart")) == 1
    press(browser, "[data-key='run 0']")
    assert "switch a run" in find(browser, "#curves").text
    press(browser, "[data-key='run 0']")
    press(browser, "[data-metric='f1']")
    assert "always positive" in texts(browser, "#headline tr.floor td")
    assert "F1" in find(browser, "#curves .note").text
    assert find(browser, ":focus").get_attribute("data-metric") == "f1"  # the keyboard stays where it was
    assert browser.get_log("browser") == []


def test_verdict_says_what_the_differences_say(browser, page, report_experiments):
    show(browser, page, 1280)
    press(browser, "[data-key='run 1']")
    pixels, told, mask = texts(browser, "#verdict .sentences li")
    assert "given pixels alone" in pixels and "told the true mask: student (oracle)" in told
    assert "a real difference" in told  # reconstruct is far behind
    assert "Being told the mask: student (oracle) · plain minus" in mask
    macro = pd.read_parquet(report_experiments[0] / "results.parquet").query("au == 'macro' and severity > 0")
    own = macro[macro["mask_source"] == "oracle"].groupby(["method", "kind"])["auroc"].mean()
    best = own.groupby("method").mean().max()
    assert f"{best:.3f}".removeprefix("0") in told
    assert "Fewer than 3 seeds" in find(browser, "#verdict").text


def test_settings_heat_map_and_folds_answer_to_their_controls(browser, page):
    show(browser, page, 1280)
    press(browser, "[data-key='differ']")
    find(browser, "#settings input[type=search]").send_keys("learning")
    assert texts(browser, "#settings tbody td:first-child") == ["model.init_args.learning_rate"]
    find(browser, "#aus input[type=search]").send_keys("lip")
    assert texts(browser, "#aus tbody td:first-child") == ["AU12 lip corner puller", "AU25 lips part"]
    Select(find(browser, "#aus [data-key='choice minus']")).select_by_value("0/clean-none")
    assert len(set(texts(browser, "#aus td.heat"))) > 3
    Select(find(browser, "#runs select")).select_by_visible_text("75 % hidden")
    heads = texts(browser, "#runs thead tr:last-child th")
    assert heads == ["method", "mask", "mean", "sd", "1", "2", "0", "1", "1·0", "1·1", "2·0", "2·1"]
    row = [float(v) for v in texts(browser, "#runs tbody tr:first-child td")[2:]]
    mean, _, fold1, fold2, seed0, seed1, *runs = row
    assert [fold1, fold2] == pytest.approx([(runs[0] + runs[1]) / 2, (runs[2] + runs[3]) / 2], abs=2e-3)
    assert [seed0, seed1] == pytest.approx([(runs[0] + runs[2]) / 2, (runs[1] + runs[3]) / 2], abs=2e-3)
    assert mean == pytest.approx(sum(runs) / 4, abs=2e-3)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_filled_in_face_stands_beside_its_occluded_one(browser, page, width):
    show(browser, page, width)
    filled = "filled in by the autoencoder"
    captions = texts(browser, "#faces figcaption")
    assert captions == ["nothing hidden", "25 % hidden", filled, "75 % hidden", filled]
    assert find(browser, "#faces").text.lower().count(filled) == 3  # the captions, and the note that explains
    pairs = browser.execute_script(
        "return [...document.querySelectorAll('#faces .face')].map((f) => [...f.querySelectorAll('img')]"
        ".map((i) => [i.naturalWidth, i.getBoundingClientRect().toJSON()]))"
    )
    assert [len(pair) for pair in pairs] == [1, 2, 2]
    for (pixels, left), (filled_pixels, right) in pairs[1:]:
        assert pixels == filled_pixels == 96
        assert left["top"] == right["top"] and left["width"] == pytest.approx(right["width"], abs=1)
        assert left["right"] < right["left"] and right["right"] <= width and right["width"] > 120
    assert browser.get_log("browser") == []


def test_examples_without_reconstructions_do_not_speak_of_them(browser, report_experiments, tmp_path):
    run = tmp_path / "older"
    shutil.copytree(report_experiments[0], run)
    path = run / "fold1-seed0/predictions/test/examples.parquet"
    pd.read_parquet(path).drop(columns="reconstruction").to_parquet(path)
    write_report([read_run(run)], tmp_path / "report.html")
    show(browser, tmp_path / "report.html", 390)
    assert texts(browser, "#faces figcaption") == ["nothing hidden", "25 % hidden", "75 % hidden"]
    assert "autoencoder" not in find(browser, "#faces").text
    tops = [find(browser, f"#faces .face:nth-child({n})").rect["y"] for n in (1, 2)]
    assert tops[0] == tops[1]  # as before: two faces in a row
    assert browser.get_log("browser") == []


def test_blind_rows_stand_beside_their_oracle_with_the_quality_of_the_mask(browser, page):
    show(browser, page, 1280)
    legend = texts(browser, "#blind .legend span")
    assert legend == [
        f"student ({mask}) · {run}" for run in ("plain", "a<!--<script>&") for mask in ("blind", "oracle")
    ]
    assert set(texts(browser, "#headline tbody td:nth-child(2)")) == {"–", "oracle", "blind"}
    quality = texts(browser, "#blind .scroll:last-child tbody tr:first-child td")
    assert quality == ["patch AUROCplain", ".965", ".915", ".965", ".915"]
    assert texts(browser, "#blind h3") == ["Blind minus oracle", "How good the estimated mask is"]


def test_a_chart_tells_its_figures_under_the_pointer(browser, page):
    show(browser, page, 1280)
    chart = find(browser, "#curves svg.chart")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    webdriver.ActionChains(browser).move_to_element(chart).perform()
    tip = find(browser, "#tip")
    assert tip.is_displayed() and "student (oracle) · plain" in tip.text and "[" in tip.text
    box = tip.rect
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280


# Least contrast of text against what it stands on (WCAG 2: 4.5 for text), over everything that is shown.
CONTRAST = """
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
  };
  const worst = [], kinds = 'h1, h2, p, a, li, b, button, td, th, small, text, dt, dd, .legend span, label';
  for (const node of document.querySelectorAll(kinds)) {
    if (!node.textContent.trim() || !node.getClientRects().length) continue;
    const style = getComputedStyle(node), paper = ground(node);
    const ink = rgb(node.tagName === 'text' ? style.fill : style.color);
    const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
    worst.push([(a + .05) / (b + .05), node.tagName, node.textContent.slice(0, 30)]);
  }
  worst.sort((x, y) => x[0] - y[0]);
  return [worst.length, worst.slice(0, 3)];
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_are_readable_and_the_switch_beats_the_system(browser, page, theme):
    def paper() -> str:
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    show(browser, page, 1280, theme)
    count, worst = browser.execute_script(CONTRAST)
    assert count > 500 and worst[0][0] >= 4.5, worst
    own = paper()
    press(browser, f"[data-theme-choice={'dark' if theme == 'light' else 'light'}]")
    other = paper()
    assert other != own
    browser.refresh()
    assert paper() == other  # remembered
    press(browser, "[data-theme-choice=auto]")
    assert paper() == own


def test_results_without_predictions_blind_rows_or_folds(browser, report_experiments, tmp_path):
    """What cannot be shown is left out, and said where it matters."""
    bare = tmp_path / "bare"
    bare.mkdir()
    results = pd.read_parquet(report_experiments[0] / "results.parquet")
    results[results["mask_source"] != "blind"].to_parquet(bare / "results.parquet")
    write_report([read_run(bare)], tmp_path / "report.html")
    show(browser, tmp_path / "report.html", 390)
    hidden = browser.execute_script(
        "return [...document.querySelectorAll('section[hidden]')].map((s) => s.id)"
    )
    assert hidden == ["robustness", "differences", "regions", "faces", "runs", "training", "cost", "settings"]
    assert "so there is no interval" in find(browser, "#verdict").text
    assert "upper bound" in find(browser, "#blind").text
    assert browser.get_log("browser") == []


def test_a_method_of_some_severities_has_dashes_and_no_curve_from_clean_faces(
    browser, report_experiments, tmp_path
):
    folder = tmp_path / "some"
    shutil.copytree(report_experiments[0], folder)
    fixtures.add_method(folder, "specialist-oracle", cells="*-0.25")
    fixtures.score_experiment(folder)
    write_report([read_run(folder)], tmp_path / "report.html")
    show(browser, tmp_path / "report.html", 1280)
    assert browser.get_log("browser") == []
    names = texts(browser, "#headline tbody td:first-child")
    cells = f"#headline tbody tr:nth-child({names.index('specialist') + 1}) td"
    assert [text == "–" for text in texts(browser, cells)[2:]] == [True, *[False, True, True] * 3]
    assert "specialist" in find(browser, "#curves .legend").text
    labels = browser.execute_script(
        "return [...document.querySelectorAll('#robustness svg.chart')].map((c) => c.getAttribute('aria-label'))"
    )
    assert labels and not any("specialist" in label for label in labels)
