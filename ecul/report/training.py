"""A run's course: curves, diagnostics of its clusters an epoch, and where the time went."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import get_args

from matplotlib.figure import Figure

from ecul.names import StageName
from ecul.plots.bars import PHASES, size_figure, timing_figure
from ecul.plots.canvas import FIGURE_INCHES, legend_below
from ecul.plots.panels import MORE_PANELS, PANELS, Panel, Record, draw_panel, points_of
from ecul.plots.vector import vector_style
from ecul.report.blocks import Block, Figures, Folded, Part, Picture, Pictures, Table, Text, drawn
from ecul.report.runs import Run

_COLUMNS = {
    "epoch": "epoch",
    "stage": "stage",
    "visible/clusters": "clusters, visible",
    "infrared/clusters": "infrared",
    "united/clusters": "united",
    "visible/noise_share": "noise, visible",
    "infrared/noise_share": "infrared",
    "united/noise_share": "united",
    "united/mean_size": "mean size",
    "united/largest_share": "largest (share)",
    "united/cross_modality_share": "of both modalities",
    "united/multi_camera_share": "of several cameras",
    "united/silhouette": "silhouette",
    "united/stability": "stability",
    "selection/pairs": "selected pairs",
    "selection/linked_share": "images in pairs",
    "quality/visible_ari": "ARI, visible",
    "quality/infrared_ari": "infrared",
    "quality/united_ari": "united",
    "quality/united_cross_precision": "pairs: precision",
    "quality/united_cross_recall": "recall",
    "quality/selection_precision": "selected: precision",
    "fallbacks": "fallbacks",
}
_SIZES = "size_from_"


def overview(run: Run) -> list[Block]:
    """Returns a run's main numbers, and those of every protocol."""
    last = run.records[-1] if run.records else {}
    total = sum(int(run.settings.get(f"stages.{name}") or 0) for name in get_args(StageName))
    figures = [
        (name, percent(run.score(key)), f"± {100 * (run.score(f'{key}_std') or 0):.1f}")
        for name, key in _SCORES.items()
        if run.score(key) is not None
    ]
    figures.append(("Epochs", f"{last.get('epoch', 0):.0f}", f"of {total}"))
    if "united/clusters" in last:
        figures.append(("United clusters", f"{last['united/clusters']:.0f}", ""))
    if "united/noise_share" in last:
        figures.append(("In no united cluster", f"{100 * last['united/noise_share']:.0f} %", "of the images"))
    figures.append(("Time", duration(run.seconds), ""))
    return [Figures(figures), *([_retrieval(run)] if run.protocols else [])]


_SCORES = {"Rank-1": "rank1", "mAP": "map", "mINP": "minp"}


def percent(value: float | None, deviation: float | None = None) -> str:
    """Returns a share in percent, with its standard deviation where that is known and not 0."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" + (f" ± {100 * deviation:.1f}" if deviation else "")


def duration(seconds: float) -> str:
    """Returns a time in the unit that fits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def training_parts(run: Run) -> list[Part]:
    """Returns curves, and diagnostics of the clusters."""
    panels = [panel for panel in PANELS if any(points_of(line, run.records) for line in panel.lines)]
    curves = Part("Curves", [Pictures([panel_picture(panel, run.records) for panel in panels])])
    return [curves, Part("Cluster diagnostics", _diagnostics(run))]


def timings_part(run: Run) -> Part:
    """Returns where a run's time went."""
    totals = {key: sum(record.get(key, 0.0) for record in run.records) for key in PHASES}
    whole = sum(totals.values()) or 1.0
    rows = [[PHASES[key][0], seconds, f"{100 * seconds / whole:.0f} %"] for key, seconds in totals.items()]
    with vector_style():
        alt = "Stacked bars. In all: " + ", ".join(f"{name} {value:.0f} s ({share})" for name, value, share in rows)
        picture = drawn(timing_figure(run.records), "Seconds of each epoch", alt + ".")
    speeds = [record["images_per_second"] for record in run.records if "images_per_second" in record]
    text = f"Training saw {speeds[-1]:.0f} images a second in the last epoch." if speeds else ""
    table = Table("Seconds of all epochs", ["phase", "seconds", "share"], rows)
    return Part("Timings", [*([Text(text)] if text else []), Pictures([picture]), table])


def panel_picture(panel: Panel, records: Sequence[Record]) -> Picture:
    """Returns a panel as a picture; the text alternative names each curve's first and last value."""
    with vector_style():
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        draw_panel(figure.subplots(), panel, records, legend=False)
        legend_below(figure)
        told = [f"{line.name} {_course(points)}" for line in panel.lines if (points := points_of(line, records))]
        return drawn(figure, panel.title, f"{panel.title} by epoch: {'; '.join(told)}.")


def _course(points: Sequence[tuple[float, float]]) -> str:
    (first, start), (last, end) = points[0], points[-1]
    if first == last:
        return f"{start:.3g} in epoch {first:.0f}"
    return f"from {start:.3g} in epoch {first:.0f} to {end:.3g} in epoch {last:.0f}"


def _retrieval(run: Run) -> Table:
    names = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "rank20": "Rank-20", "map": "mAP"}
    names["minp"] = "mINP"
    rows = []
    for protocol, found in run.protocols.items():
        mean = found.get("mean") if isinstance(found, Mapping) else None
        scores = mean if isinstance(mean, Mapping) else {}
        rows.append([protocol, *(percent(scores.get(key), scores.get(f"{key}_std")) for key in names)])
    return Table("Mean ± standard deviation over the galleries", ["protocol", *names.values()], rows)


def _diagnostics(run: Run) -> list[Block]:
    columns = {key: name for key, name in _COLUMNS.items() if any(key in record for record in run.records)}
    rows = [[record.get(key) for key in columns] for record in run.records]
    panels = [panel for panel in MORE_PANELS if any(points_of(line, run.records) for line in panel.lines)]
    pictures = [panel_picture(panel, run.records) for panel in panels]
    pictures += _size_picture(run.records[-1]) if run.records else []
    table = Table("Clusters of each epoch", list(columns.values()), rows)
    blocks: list[Block] = [Pictures(pictures)] if pictures else []
    if run.warnings:
        shown = [Text(line) for line in run.warnings[-50:]]
        blocks.append(Folded(f"{len(run.warnings)} warnings", shown))
    return [*blocks, table]


def _size_picture(record: Record) -> list[Picture]:
    """The sizes of the clusters of an epoch, unless it made none."""
    counts: dict[str, list[tuple[str, float]]] = {}
    for name in ("visible", "infrared", "united"):
        keys = [key for key in record if key.startswith(f"{name}/{_SIZES}")]
        edges = sorted(int(key.rpartition("_")[2]) for key in keys)
        if edges:
            ranges = [(max(low, 1), high - 1) for low, high in pairwise(edges)]  # no cluster is empty
            labels = [f"{low}-{high}" if low < high else f"{low}" for low, high in ranges]
            numbers = [record[f"{name}/{_SIZES}{low}"] for low in edges]
            counts[name] = list(zip([*labels, f"{edges[-1]}+"], numbers, strict=True))
    if not counts:
        return []
    told = [f"{name}: " + ", ".join(f"{n:.0f} of {size}" for size, n in pairs if n) for name, pairs in counts.items()]
    title = "Clusters by number of images"
    with vector_style():
        return [drawn(size_figure(counts), title, f"Bars. {title}, last epoch. {'; '.join(told)}.")]
