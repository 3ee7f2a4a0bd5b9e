"""The report: self-contained, complete, safe with odd names, alive in a real browser; the static figure."""

import json
import re
import shutil
import subprocess

import fixtures_results as fixtures
import pandas as pd
import pytest
from PIL import Image

from data_modules.errors import UserError
from fau_mae.evaluation.figures import curve_figure
from fau_mae.evaluation.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Two experiments, one of 2 folds x 2 seeds, with a name that would break out of a script element."""
    root = tmp_path_factory.mktemp("report")
    small = {"subjects": 5, "frames": 12, "severities": (0.25, 0.75)}
    return [
        fixtures.write_experiment(root / "plain", **small),
        fixtures.write_experiment(root / "a<!--<script>&", folds=(1, 2), seeds=(0, 1), **small),
    ]


@pytest.fixture(scope="module")
def page(experiments, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "deep" / "report.html"
    write_report(experiments, out)
    return out


def page_data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_report_is_one_small_file_that_loads_nothing(page):
    html = page.read_text()
    assert page.stat().st_size < 10_000_000
    assert [p.name for p in page.parent.iterdir()] == ["report.html"]
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    addresses = set(re.findall(r"https?://[\w./]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the SVG namespace, a name that is never fetched


def test_report_holds_what_the_results_say(page, experiments):
    data = page_data(page)
    assert [e["name"] for e in data["experiments"]] == ["plain", "a<!--<script>&"]
    for experiment, folder in zip(data["experiments"], experiments):
        results = pd.read_parquet(folder / "results.parquet")
        rows = results.query(
            "method == 'student' and mask_source == 'blind' and kind == 'block' and severity == 0.75"
        )
        shown = {
            r["au"]: r
            for r in experiment["scores"]
            if (r["m"], r["k"], r["s"]) == ("student-blind", "block", 0.75)
        }
        for au, own in rows.groupby("au"):
            assert shown[au]["f1"] == pytest.approx(own["f1"].mean(), abs=1e-4)
        assert len(shown["macro"]["runs"]["f1"]) == len(own)
        stages = {s["stage"]: s for s in experiment["stages"] if s["settings"]}
        assert stages["student"]["settings"]["model.init_args.learning_rate"] == "0.0007"
        assert stages["teacher"]["curves"]["val/auroc"][-1][1] > 0.8
        assert {e["s"] for e in experiment["examples"]} == {0, 0.25, 0.75}


def test_same_results_give_the_same_page(page, experiments, tmp_path):
    write_report(experiments, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_folder_without_results_is_a_user_error_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="holds no results"):
        write_report([tmp_path], tmp_path / "out" / "report.html")
    assert not (tmp_path / "out").exists()


DRIVER = """
<script>
window.problems = [];
window.addEventListener("error", (event) => problems.push(event.message));
</script>
"""
STEPS = """
<script>
const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent);
const cells = (n) => texts(`#headline tbody tr:not(.floor) td:nth-child(${n})`);
const press = (selector) => document.querySelector(selector).click();
const seen = { methods: cells(1).length, charts: texts("#curves svg.chart").length, width: innerWidth };
press("#headline thead tr:last-child th:nth-child(2) button");
seen.sorted = cells(2);
press("#toolbar [data-metric=auroc]");
seen.auroc = document.querySelector("#curves figcaption").textContent;
press("#toolbar .row:nth-child(2) .chip");
seen.filtered = cells(1).length;
const search = document.querySelector("#settings input[type=search]");
search.value = "learning_rate";
search.dispatchEvent(new Event("input"));
press("#settings input[type=checkbox]");
seen.settings = texts("#settings tbody td:first-child");
const chart = document.querySelector("#curves svg.chart"), box = chart.getBoundingClientRect();
const middle = { clientX: box.left + box.width / 2, clientY: box.top + 9 };
chart.dispatchEvent(new PointerEvent("pointermove", middle));
seen.tip = document.getElementById("tip").textContent;
seen.faces = texts("#faces img").length;
seen.overflow = document.documentElement.scrollWidth - innerWidth;
seen.problems = problems;
document.body.replaceChildren(document.createTextNode(`SEEN${JSON.stringify(seen)}NEES`));
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_page_works_in_a_browser(page, tmp_path, width):
    html = page.read_text().replace("<body>", "<body>" + DRIVER).replace("</body>", STEPS + "</body>")
    (tmp_path / "driven.html").write_text(html)
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    options += [
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        f"--window-size={width},1000",
    ]
    options += [f"--user-data-dir={tmp_path / 'profile'}"]
    address = (tmp_path / "driven.html").as_uri()
    run = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in run.stderr
    seen = json.loads(re.search("SEEN(.*)NEES", run.stdout)[1].replace("&lt;", "<").replace("&amp;", "&"))
    assert seen["problems"] == []
    assert (seen["methods"], seen["filtered"]) == (10, 9)
    assert seen["charts"] == 2 and seen["faces"] == 3
    values = [float(cell.split()[0]) for cell in seen["sorted"]]
    assert values == sorted(values, reverse=True)
    assert "AUROC" in seen["auroc"] and "student" in seen["tip"]
    assert seen["settings"] == ["model.init_args.learning_rate"]
    assert seen["overflow"] <= 0 and seen["width"] <= max(width, 500)


def test_curve_figure_is_a_picture(experiments, tmp_path):
    results = pd.read_parquet(experiments[0] / "results.parquet")
    curve_figure(results, tmp_path / "figures" / "curves.png")
    with Image.open(tmp_path / "figures" / "curves.png") as picture:
        assert min(picture.size) > 400 and len(picture.convert("RGB").getcolors(1 << 20)) > 10
