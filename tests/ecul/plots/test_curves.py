import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ecul.plots import curves
from ecul.plots.canvas import save_figure
from ecul.plots.curves import plot_curves


def make_records():
    records = []
    for epoch in range(1, 9):
        record = {"epoch": float(epoch), "stage": 1.0 if epoch <= 4 else 2.0, "loss/total": 3.0 / epoch}
        record |= {"visible/clusters": 40.0, "infrared/clusters": 30.0, "seconds": 3.0}
        if epoch > 4:
            record |= {"united/clusters": 50.0, "loss/united": float("nan")}
        if epoch % 2 == 0:
            record["evaluation/map"] = 0.1 * epoch
        records.append(record)
    return records


def drawn_figure(records, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, path: kept.append(figure))
    plot_curves(records, tmp_path / "curves.png")
    return kept[0]


def test_a_picture_is_written_and_nothing_beside_it(tmp_path):
    plot_curves(make_records(), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1320, 840)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_equal_records_give_equal_bytes_in_any_order(tmp_path):
    plot_curves(make_records(), tmp_path / "a.png")
    plot_curves(make_records()[::-1], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_lines_hold_the_recorded_values_and_the_stage_boundary(tmp_path, monkeypatch):
    figure = drawn_figure(make_records(), tmp_path, monkeypatch)
    loss, clusters, _, retrieval = figure.axes
    curve = {line.get_label(): line for line in (*loss.lines, *clusters.lines, *retrieval.lines)}
    np.testing.assert_allclose(curve["total"].get_xydata()[:, 1], [3 / epoch for epoch in range(1, 9)])
    np.testing.assert_allclose(curve["mAP"].get_xydata(), [[2, 0.2], [4, 0.4], [6, 0.6], [8, 0.8]])
    assert curve["united"].get_xydata()[:, 0].tolist() == [5, 6, 7, 8]
    assert "united clusters" not in curve
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts if "stage" in text.get_text()] == [" stage 2"]
        assert axes.lines[-1].get_xdata()[0] == 4.5


@pytest.mark.parametrize("records", [[], [{"epoch": 1.0}], [{"loss/total": 1.0}]])
def test_nothing_recorded_is_said_so(records, tmp_path, monkeypatch):
    plot_curves(records, tmp_path / "curves.png")
    figure = drawn_figure(records, tmp_path, monkeypatch)
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["nothing recorded"] * 4


def test_a_failed_write_keeps_the_old_picture_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("ecul.files.Path.replace", refuse)
    with pytest.raises(OSError, match="no space"):
        save_figure(Figure(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
