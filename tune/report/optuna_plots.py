"""Pictures of a sweep by Optuna's own visualisation."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecul.files import write_atomically
from ecul.plots.canvas import save_figure
from ecul.plots.vector import svg_text, vector_style
from tune.report.analysis import Findings, study_of_values
from tune.roles import label_of
from tune.space.search_space import SearchSpace

FEWEST_TRIALS = 3
_MOST_PATHS = 3
_INCHES = 3.2  # a path


def draw_optuna(study: optuna.Study, findings: Findings, space: SearchSpace, folder: Path) -> list[Path]:
    """Writes Optuna's pictures of a study as PNG and SVG, and returns the PNG files.

    Args:
        study: with its trials.
        findings: of the study.
        space: of the sweep.
        folder: where the files go; it must exist.

    Raises:
        OSError: one cannot be written.
    """
    if len(findings.ranked) < FEWEST_TRIALS:
        return []
    pictures = _pictures(study, findings, space)
    for name, draw in pictures.items():
        figure = _own_figure(draw)
        save_figure(figure, folder / f"{name}.png")
        write_atomically(folder / f"{name}.svg", svg_text(figure))
    return [folder / f"{name}.png" for name in pictures]


def _pictures(study: optuna.Study, findings: Findings, space: SearchSpace) -> Mapping[str, Callable[[], Any]]:
    from optuna.visualization import matplotlib as own

    target = findings.objectives[0]
    values = study_of_values(findings.ranked, space, target)
    pictures: dict[str, Callable[[], Any]] = {
        "optuna-edf": lambda: own.plot_edf(values, target_name=target.metric),
        "optuna-timeline": lambda: own.plot_timeline(study),
    }
    trials = values.get_trials(deepcopy=False)
    known = [path for path in trials[0].params if all(path in trial.params for trial in trials)]
    paths = sorted(known, key=lambda path: -findings.importance.get(path, 0.0))[:_MOST_PATHS]
    if len(paths) > 1:
        pictures["optuna-contour"] = lambda: own.plot_contour(values, params=paths, target_name=target.metric)
        pictures["optuna-rank"] = lambda: own.plot_rank(values, params=paths, target_name=target.metric)
    return pictures


def _own_figure(draw: Callable[[], Any]) -> Figure:
    """What Optuna draws. It uses pyplot and sets a style for the whole process; both are put back."""
    import matplotlib.pyplot as plt

    # a colour bar is made for the layout that the figure has then
    layout = plt.rc_context({"figure.constrained_layout.use": True})
    with plt.rc_context(), vector_style(), layout, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its matplotlib part is marked as experimental
        drawn = draw()
        axes: Axes = drawn if isinstance(drawn, Axes) else drawn.flat[0]
        figure = axes.get_figure()
        assert isinstance(figure, Figure)
        plt.close(figure)
        columns = 1 if isinstance(drawn, Axes) else drawn.shape[1]
        figure.set_size_inches(max(6.5, _INCHES * columns), max(4.2, _INCHES * columns * 0.8))
        for part in figure.axes:
            _tidy(part)
        figure.set_layout_engine("constrained")
    return figure


def _tidy(axes: Axes) -> None:
    """Short names of settings, and lines that are seen on a light and on a dark page."""
    axes.set_xlabel(label_of(axes.get_xlabel()))
    axes.set_ylabel(label_of(axes.get_ylabel()))
    for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
        line.set(color="#808080", alpha=0.25)
    for spine in axes.spines.values():
        spine.set_edgecolor("#222222")
    if (legend := axes.get_legend()) is not None:
        legend.set_frame_on(False)
