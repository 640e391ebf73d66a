"""Images of a run: contact sheets of clusters, selected pairs, a map of the embeddings, and rank lists."""

from collections import Counter

import numpy as np

from ecul.engine.inspection import LARGEST, LEAST_CERTAIN, MIXED, Inspection
from ecul.engine.inspection import Sheet as ClusterSheet
from ecul.engine.inspection_file import StoredInspection
from ecul.engine.interfaces import Gallery
from ecul.plots.embedding_map import Colouring, in_plane, map_figure
from ecul.plots.vector import vector_style
from ecul.report.blocks import Block, Heading, Part, Pictures, Sheet, Sheets, Text, Tile, data_uri, drawn
from ecul.types import Modality, group_ids

_TITLES = {
    LARGEST: "The largest clusters",
    LEAST_CERTAIN: "The least certain clusters",
    MIXED: "Clusters of both modalities",
}
_NAMES = {Modality.VISIBLE: "visible", Modality.INFRARED: "infrared"}
_LETTERS = {Modality.VISIBLE: "V", Modality.INFRARED: "I"}
_COLOURED_CLUSTERS = 9


def image_parts(stored: StoredInspection) -> list[Part]:
    """Returns the parts that show images."""
    clusters = stored.clusters
    parts = [Part("Clusters", _sheets(stored))]
    if len(clusters.pairs):
        parts.append(Part("Selected pairs", _pairs(stored)))
    parts.append(Part("Map of the embeddings", _map(clusters)))
    if stored.ranks is not None:
        parts.append(Part("Rank lists", _ranks(stored, stored.ranks)))
    return parts


def _sheets(stored: StoredInspection) -> list[Block]:
    clusters = stored.clusters
    kind = "united clusters" if clusters.united else "clusters inside each modality"
    intro = (
        f"Epoch {clusters.epoch}, {kind}. Under each image: V for visible or I for infrared, and its camera. Certainty "
        "is the similarity to the mean of the own cluster less that to the nearest other one, mean over the images. "
        "Of a large cluster some images are shown, from each modality and camera in turn."
    )
    if _known(clusters):
        intro += " A dashed frame marks an image that does not show the person most frequent in its cluster."
    blocks: list[Block] = [Text(intro)]
    for reason, title in _TITLES.items():
        sheets = [_sheet(stored, sheet) for sheet in clusters.sheets if sheet.reason == reason]
        if sheets:
            blocks += [Heading(title), Sheets(sheets)]
    return blocks


def _sheet(stored: StoredInspection, sheet: ClusterSheet) -> Sheet:
    clusters = stored.clusters
    members = np.flatnonzero(clusters.label == sheet.cluster)
    visible = int(np.count_nonzero(clusters.modality[members] == Modality.VISIBLE))
    cameras = len(np.unique(group_ids(clusters.modality[members], clusters.camera[members])))
    notes = [
        f"{visible} visible, {len(members) - visible} infrared; {cameras} {'camera' if cameras == 1 else 'cameras'}"
    ]
    certainty = float(clusters.margin[members].mean())
    if np.isfinite(certainty):
        notes.append(f"certainty {round(certainty, 3) + 0.0:.3f}")
    people = Counter(clusters.identity[members].tolist()) if _known(clusters) else Counter[int]()
    if people:
        notes.append(f"{len(people)} {'person' if len(people) == 1 else 'people'}")
    if len(sheet.members) < len(members):
        notes.append(f"{len(sheet.members)} shown")
    most = people.most_common(1)[0][0] if people else None
    if most is not None and not (clusters.identity[list(sheet.members)] == most).any():
        notes.append("none of the most frequent person")
    tiles = [
        _tile(stored, image, "wrong" if most is not None and clusters.identity[image] != most else "")
        for image in sheet.members
    ]
    return Sheet(f"Cluster {sheet.cluster}: {len(members)} images", "; ".join(notes), tiles)


def _pairs(stored: StoredInspection) -> list[Block]:
    clusters = stored.clusters
    shown = clusters.pairs_shown.tolist()
    intro = (
        f"{len(shown)} of {len(clusters.pairs)} selected pairs across the modalities, from near to far, each with the "
        "distance 2 - 2 cosine similarity of their embeddings."
    )
    sheets: list[Sheet] = []
    for row in shown:
        visible, infrared = clusters.pairs[row].tolist()
        note, mark = "", ""
        if _known(clusters):
            same = clusters.identity[visible] == clusters.identity[infrared]
            note, mark = ("one person", "right") if same else ("two people", "wrong")
        title = f"{float(clusters.pair_distance[row]):.3f}"
        sheets.append(Sheet(title, note, [_tile(stored, visible, mark), _tile(stored, infrared, mark)]))
    return [Text(intro), Sheets(sheets, narrow=True)]


def _map(clusters: Inspection) -> list[Block]:
    chosen = clusters.map_image
    position = in_plane(clusters.map_components)
    modality, camera, label = clusters.modality[chosen], clusters.camera[chosen], clusters.label[chosen]
    groups = group_ids(clusters.modality, clusters.camera)[chosen]
    names = dict(zip(groups.tolist(), zip(modality.tolist(), camera.tolist(), strict=True), strict=True))
    cameras = [f"{_NAMES[Modality(kind)]} {number}" for _, (kind, number) in sorted(names.items())]
    largest = [cluster for cluster, _ in Counter(label[label >= 0].tolist()).most_common(_COLOURED_CLUSTERS)]
    place = {cluster: number for number, cluster in enumerate(largest)}
    colourings = [
        Colouring("Modality", modality, [_NAMES[kind] for kind in Modality]),
        Colouring("Camera", np.unique(groups, return_inverse=True)[1], cameras, "other cameras"),
        Colouring(
            "Cluster",
            np.array([place.get(cluster, -1) for cluster in label.tolist()]),
            [f"cluster {cluster}" for cluster in largest],
            "other clusters, or none",
        ),
    ]
    pictures = []
    with vector_style():
        for colouring in colourings:
            counts = [int(np.count_nonzero(colouring.kind == number)) for number in range(len(colouring.names))]
            told = ", ".join(f"{name} {count}" for name, count in zip(colouring.names, counts, strict=True))
            alt = f"Map of {len(chosen)} images coloured by {colouring.title.lower()}: {told}."
            pictures.append(drawn(map_figure(position, colouring), colouring.title, alt))
    text = (
        f"{len(chosen)} of {len(clusters.paths)} training images, epoch {clusters.epoch}: t-SNE of the first "
        f"{clusters.map_components.shape[1]} principal components. Near images are similar; far distances mean little."
    )
    return [Text(text), Pictures(pictures)]


def _ranks(stored: StoredInspection, ranks: Gallery) -> list[Block]:
    intro = "Queries, and the gallery images nearest to them. A whole frame is the right person, a dashed one is not."
    sheets = []
    for number, (query, nearest, correct) in enumerate(
        zip(ranks.query_paths, ranks.ranked_paths, ranks.correct, strict=True), start=1
    ):
        tiles = [Tile(_image(stored, query), f"query {number}: {query}", "query", "query")]
        for rank, (path, right) in enumerate(zip(nearest, correct, strict=True), start=1):
            said = "right" if right else "wrong"
            tiles.append(Tile(_image(stored, path), f"rank {rank}, {said} person: {path}", f"{rank} {said}", said))
        first = next((rank for rank, right in enumerate(correct, start=1) if right), None)
        note = f"right at rank {first}" if first else f"right at none of the first {len(correct)}"
        sheets.append(Sheet(f"Query {number}", note, tiles))
    return [Text(intro), *sheets]


def _tile(stored: StoredInspection, image: int, mark: str) -> Tile:
    clusters = stored.clusters
    kind, camera = Modality(int(clusters.modality[image])), int(clusters.camera[image])
    said = {"right": ", right", "wrong": ", wrong"}.get(mark, "")
    alt = f"{_NAMES[kind]}, camera {camera}{said}: {clusters.paths[image]}"
    return Tile(_image(stored, clusters.paths[image]), alt, f"{_LETTERS[kind]}{camera}", mark)


def _image(stored: StoredInspection, path: str) -> str:
    return data_uri(stored.thumbnails.get(path, b""), "image/jpeg")


def _known(clusters: Inspection) -> bool:
    """Whether the people are known; they are not where any identity is negative."""
    return bool(len(clusters.identity)) and bool((clusters.identity >= 0).all())
