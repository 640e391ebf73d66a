import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecul.cli import main
from ecul.engine.inspection_file import INSPECTION_FILE, read_inspection
from ecul.engine.interfaces import Reporter
from ecul.engine.run_directory import REPORT_FILE
from ecul.errors import DataError
from ecul.report import clusters, finish
from ecul.report.comparison import grouped
from ecul.report.runs import FILES, find, read_run
from ecul.report.settings_tables import changed_settings, differences
from ecul.report.stored import StoredPart, StoredPicture, StoredReport, StoredTable, write_stored
from ecul.report.write import LARGEST_PAGE
from tests.ecul.report.test_page import Tags


def titles(page: str) -> list[str]:
    return re.findall(r'<h2 id="[^"]*">([^<]*)</h2>', page)


def copy_of(run: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in FILES:
        if (run / name).is_file():
            shutil.copy(run / name, folder / name)
    return folder


def test_a_training_leaves_its_report(runs):
    page = (runs / "first" / REPORT_FILE).read_text()
    assert titles(page) == [
        *("Result", "Settings", "Curves", "Cluster diagnostics", "Clusters", "Selected pairs"),
        *("Map of the embeddings", "Rank lists", "Timings"),
    ]
    assert len(page.encode()) < LARGEST_PAGE / 4
    images = [attributes for tag, attributes in Tags(page).tags if tag == "img"]
    assert len(images) > 100
    assert all(attributes["alt"].strip() and attributes["src"].startswith("data:image/") for attributes in images)


def test_a_sheet_without_the_most_frequent_person_says_so(runs):
    stored = read_inspection(runs / "first" / INSPECTION_FILE)
    sizes = np.bincount(stored.clusters.label[stored.clusters.label >= 0])
    sheet = next(sheet for sheet in stored.clusters.sheets if sizes[sheet.cluster] > 2)
    one = replace(sheet, members=sheet.members[:1])
    identity = np.full_like(stored.clusters.identity, 7)

    def note(identity: np.ndarray) -> str:
        return clusters._sheet(replace(stored, clusters=replace(stored.clusters, identity=identity)), one).note

    assert "none of the most frequent person" not in note(identity)
    identity[one.members[0]] = 8
    assert "none of the most frequent person" in note(identity)


def test_the_report_of_a_folder_of_runs_begins_with_what_differs(runs, tmp_path):
    assert main(["report", str(runs), "--out", str(tmp_path / "two.html")]) == 0
    page = (tmp_path / "two.html").read_text().replace("<wbr>", "")
    assert titles(page) == ["Settings", "Comparison", "Run first", "Run second"]
    table = page[page.index("<table") : page.index("</table>")]
    assert re.findall(r'scope="row">([^<]*)', table) == ["seed", "clustering.united.k2", "runtime.report"]
    assert "clustering.united.k2=2" in page
    scores = [json.loads((runs / name / "result.json").read_text()) for name in ("first", "second")]
    for score in scores:
        assert f"{100 * next(iter(score['protocols'].values()))['mean']['map']:.1f} %" in page


def test_seeds_are_one_row_and_other_settings_are_another(runs):
    first, second = find([runs / "first", runs / "second"]).runs
    assert [len(group.runs) for group in grouped([first, second])] == [1, 1]
    again = read_run(runs / "first", "again")
    again.settings["seed"] = 5
    again.settings["runtime.device"] = "cuda"
    groups = grouped([first, again, second])
    assert [(group.name, len(group.runs)) for group in groups] == [
        ("clustering.united.k2=3", 2),
        ("clustering.united.k2=2", 1),
    ]


def test_settings_that_are_not_the_defaults(tiny_config):
    assert changed_settings({"seed": 0, "model.backbone": "small", "unknown": 1}) == {
        "model.backbone": "agw_resnet50",
        "unknown": None,
    }
    assert differences([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": None}]) == ["b"]


def test_a_run_that_did_not_end_has_a_report_too(runs, tmp_path):
    run = copy_of(runs / "first", tmp_path / "run")
    for name in ("result.json", "inspection.npz"):
        (run / name).unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(lines[0] + lines[1][:40])
    (run / "warnings.log").write_text("epoch 1: <b>few</b>\n")
    assert main(["report", str(run), "--out", str(tmp_path / "x.html")]) == 0
    page = (tmp_path / "x.html").read_text()
    assert "holds no inspection.npz" in page
    assert "epoch 1: &lt;b&gt;few&lt;/b&gt;" in page


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("run.json", "{", "run.json is damaged"),
        ("run.json", "[]", "run.json holds list"),
        ("metrics.jsonl", "no\n", "metrics.jsonl is damaged"),
        ("inspection.npz", "no", "inspection.npz is damaged"),
    ],
)
def test_damaged_files_are_named_in_one_line(runs, tmp_path, capsys, name, content, text):
    run = copy_of(runs / "first", tmp_path / "run")
    (run / name).write_text(content)
    assert main(["report", str(run), "--out", str(tmp_path / "x.html")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert text in error
    assert not (tmp_path / "x.html").exists()


def test_paths_that_lead_to_nothing(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        find([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither a run"):
        find([tmp_path / "empty"])


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    for above in ("a", "b"):
        copy_of(runs / "first", tmp_path / above / "run")
    assert [run.name for run in find([tmp_path]).runs] == ["a/run", "b/run"]


def test_what_another_program_stored_is_shown_with_its_runs(runs, tmp_path):
    folder = tmp_path / "repeat"
    copy_of(runs / "first", folder / "seed-0")
    (folder / "report").mkdir()
    (folder / "report" / "x.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    picture = StoredPicture(title="t", alt="what it shows", file="x.svg")
    table = StoredTable(caption="c", columns=("a", "b"), rows=(("x", 0.5), ("<y>", None)))
    part = StoredPart(title="Grid", texts=("some text",), tables=(table,), pictures=(picture,))
    write_stored(folder, StoredReport(title="Repeat r", subtitle="2 runs", parts=(part,), runs=("seed-0",)))
    assert main(["report", str(folder), "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    assert titles(page) == ["Grid", "Run seed-0"]
    assert "&lt;y&gt;" in page
    assert 'alt="what it shows"' in page


@pytest.mark.parametrize("damage", ['{"title": 1}', "{", '{"title": "t", "more": 1}'])
def test_a_damaged_stored_report_is_named(tmp_path, damage):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "page.json").write_text(damage)
    with pytest.raises(DataError, match=r"page\.json is damaged or of another version"):
        find([tmp_path])


def test_a_stored_picture_cannot_be_a_file_elsewhere(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "sweep"
    picture = StoredPicture(title="t", alt="a", file="../../secret.png")
    write_stored(folder, StoredReport(title="t", parts=(StoredPart(title="p", pictures=(picture,)),)))
    assert main(["report", str(folder), "--out", str(tmp_path / "x.html")]) == 2


def test_a_report_that_cannot_be_written_is_one_line(runs, capsys):
    assert main(["report", str(runs / "first"), "--out", "/proc/nowhere/x.html"]) == 2
    assert "--out /proc/nowhere/x.html cannot be written" in capsys.readouterr().err


def test_a_fault_of_the_page_is_a_warning_of_a_complete_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Keeps(Reporter):
        warnings: tuple[str, ...] = ()

        def warn(self, message: str) -> None:
            self.warnings += (message,)

    def broken(_: object) -> str:
        raise TypeError("no such colour")

    monkeypatch.setattr(finish, "report_page", broken)
    reporter = Keeps()
    finish.add_report(tmp_path, reporter)
    (warning,) = reporter.warnings
    assert "no report.html: TypeError('no such colour'); the run is complete" in warning
