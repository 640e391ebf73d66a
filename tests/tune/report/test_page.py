import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import optuna
import pytest

from ecul.cli import main
from ecul.report.stored import read_stored, write_stored
from tests.browser import CHROMIUM, browser
from tests.tune.report.conftest import COST, SCORE, SPACE
from tune.report.analysis import analyse
from tune.report.optuna_plots import draw_optuna
from tune.report.page import stored_report
from tune.report.plots import draw_all


def store(study, folder, objectives):
    findings = analyse(study, SPACE, objectives)
    (folder / "report").mkdir()
    pictures = draw_all(findings, SPACE, folder / "report")
    pictures += draw_optuna(study, findings, SPACE, folder / "report")
    write_stored(folder, stored_report(findings, pictures, title="Sweep <x>", best_config=True))
    return findings, pictures


@pytest.fixture(scope="module")
def sweep(study, tmp_path_factory):
    """A sweep: its findings, its pictures, the page that `ecul report` makes without Optuna, and earlier settings."""
    folder, before = tmp_path_factory.mktemp("sweep"), dict(mpl.rcParams)
    findings, pictures = store(study, folder, [SCORE, COST])
    code = (
        "import sys; from ecul.cli import main; code = main(sys.argv[1:]);"
        "assert not {'optuna', 'ray', 'tune'} & {name.partition('.')[0] for name in sys.modules}; sys.exit(code)"
    )
    page = folder / "page.html"
    subprocess.run([sys.executable, "-c", code, "report", str(folder), "--out", str(page)], check=True)
    return findings, pictures, page, before


def test_a_sweep_has_a_page_that_needs_no_optuna(sweep):
    findings, pictures, page, _ = sweep
    names = {path.stem for path in pictures}
    assert {"optuna-edf", "optuna-timeline", "optuna-contour", "optuna-rank"} <= names
    text = page.read_text()
    assert "Sweep &lt;x&gt;" in text
    assert f"Trial {findings.ranked[0].number} has the best validation_map" in text
    assert text.count("<img ") == len(pictures)
    assert "30 trials: 29 complete, 1 failed" in text


def test_optuna_leaves_neither_its_style_nor_open_figures(sweep):
    assert plt.get_fignums() == []
    assert sweep[3] == dict(mpl.rcParams)


def test_few_trials_have_a_page_without_optunas_pictures(tmp_path):
    empty = optuna.create_study(direction="maximize")
    _, pictures = store(empty, tmp_path, [SCORE])
    assert pictures == []
    assert read_stored(tmp_path).parts[0].texts == ("No trial is complete yet.",)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_a_sweeps_page_opens_quietly_and_fits(sweep):
    page = sweep[2]
    with browser() as tab:
        for width, dark in ((1200, True), (400, False)):
            tab.requests.clear()
            tab.open(page, width=width, dark=dark)
            assert tab.requests == [page.as_uri()]
            assert tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
            assert tab.run("[...document.images].filter(image => !image.naturalWidth).length") == 0
        assert tab.complaints == []
