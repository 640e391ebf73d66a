import random
from pathlib import Path

import numpy as np
import pytest

from ecul.data.layouts import LAYOUTS, PROTOCOLS, find_layout, protocols_of
from ecul.errors import ConfigError, DataError
from ecul.evaluation.protocols import build_trials
from ecul.types import LabelledIndex, Modality, SampleIndex

PROTOCOL_FILE = Path(__file__).parents[2] / "golden" / "sysu_mm01_protocol.npz"
INFRARED_CAMERAS = (3, 6)


def make_index(rows):
    """An index from (identity, camera, modality) rows."""
    identity, camera, modality = (np.array(column, dtype=np.int32) for column in zip(*rows, strict=True))
    paths = tuple(f"{i:05d}.jpg" for i in range(len(rows)))
    return LabelledIndex(SampleIndex(paths, modality, camera), identity)


def sysu_index(counts):
    """An index from {(identity, camera): images}, in an order that is not sorted by identity."""
    rows = []
    for (identity, camera), num_images in sorted(counts.items(), key=lambda item: (item[0][1], -item[0][0])):
        modality = Modality.INFRARED if camera in INFRARED_CAMERAS else Modality.VISIBLE
        rows += [(identity, camera, modality)] * num_images
    return make_index(rows)


def small_index():
    rng = np.random.default_rng(0)
    counts = {(i, c): int(rng.integers(1, 15)) for i in (3, 11, 20, 5) for c in range(1, 7) if (i, c) != (5, 2)}
    return sysu_index(counts)


@pytest.fixture(scope="module")
def real_protocol():
    return dict(np.load(PROTOCOL_FILE))


@pytest.fixture(scope="module")
def real_index(real_protocol):
    counts = real_protocol["counts"]
    sizes = {(int(i), c): int(counts[c - 1, i - 1]) for i in real_protocol["test_id"] for c in range(1, 7)}
    return sysu_index({key: size for key, size in sizes.items() if size})


def literal_community_gallery(index, cameras, trial, shots):
    """The draws of the public scripts, on the global generator."""
    state = random.getstate()
    random.seed(trial)
    gallery = []
    for identity in sorted(set(index.identity.tolist())):
        for camera in cameras:
            files = np.flatnonzero((index.identity == identity) & (index.samples.camera == camera)).tolist()
            if files and shots == 1:
                gallery.append(random.choice(files))
            elif files:
                gallery.extend(random.sample(files, min(shots, len(files))))
    random.setstate(state)
    return gallery


@pytest.mark.parametrize(
    ("protocol", "cameras", "shots"),
    [
        ("sysu_all_single", (1, 2, 4, 5), 1),
        ("sysu_all_multi", (1, 2, 4, 5), 10),
        ("sysu_indoor_single", (1, 2), 1),
        ("sysu_indoor_multi", (1, 2), 10),
    ],
)
def test_community_draws_are_those_of_the_public_scripts(protocol, cameras, shots, monkeypatch):
    index = small_index()
    with monkeypatch.context() as patch:
        for name in ("seed", "choice", "sample"):
            patch.delattr(random, name)  # the global generator stays alone
        trials = build_trials(index, protocol=PROTOCOLS[protocol])
    assert len(trials) == 10
    for number, trial in enumerate(trials):
        assert trial.gallery.tolist() == literal_community_gallery(index, cameras, number, shots)
        assert trial.rule == "sysu"
        assert set(index.samples.camera[trial.query].tolist()) == {3, 6}


@pytest.mark.parametrize("gallery_rule", ["community", "official"])
def test_the_real_test_split_gives_the_known_numbers(real_index, gallery_rule):
    for protocol, size in (("sysu_all_single", 301), ("sysu_indoor_single", 112), ("sysu_all_multi", 3010)):
        for trial in build_trials(real_index, protocol=PROTOCOLS[protocol], gallery_rule=gallery_rule):
            assert len(trial.query) == 3803
            assert len(trial.gallery) == size
            assert len(set(trial.gallery.tolist())) == size


def test_official_draws_are_the_rows_of_the_table(real_index, real_protocol):
    starts = np.cumsum(real_protocol["perm_shape"].prod(axis=1)) - real_protocol["perm_shape"].prod(axis=1)
    tables = {
        (int(identity), int(camera)): real_protocol["perm"][start : start + np.prod(shape)].reshape(shape)
        for (camera, identity), start, shape in zip(
            real_protocol["keys"], starts, real_protocol["perm_shape"], strict=True
        )
    }
    trials = build_trials(real_index, protocol=PROTOCOLS["sysu_all_multi"], gallery_rule="official")
    for number in (0, 9):
        expected = []
        for identity in sorted(set(real_index.identity.tolist())):
            for camera in (1, 2, 4, 5):
                of_pair = (real_index.identity == identity) & (real_index.samples.camera == camera)
                files = np.flatnonzero(of_pair)
                if len(files):
                    expected += files[tables[identity, camera][number, :10] - 1].tolist()
        assert trials[number].gallery.tolist() == expected


def test_official_rule_refuses_other_data():
    with pytest.raises(DataError, match=r"identity 3 under camera 1.*use gallery rule community"):
        build_trials(small_index(), protocol=PROTOCOLS["sysu_all_single"], gallery_rule="official")
    with pytest.raises(ConfigError, match="has no official gallery table"):
        build_trials(small_index(), protocol=PROTOCOLS["regdb_visible_to_infrared"], gallery_rule="official")


def test_regdb_uses_every_image_once():
    index = make_index([(i, 1, m) for i in range(3) for m in Modality for _ in range(2)])
    (forth,) = build_trials(index, protocol=PROTOCOLS["regdb_visible_to_infrared"])
    (back,) = build_trials(index, protocol=PROTOCOLS["regdb_infrared_to_visible"])
    assert forth.query.tolist() == back.gallery.tolist() == [0, 1, 4, 5, 8, 9]
    assert forth.gallery.tolist() == back.query.tolist() == [2, 3, 6, 7, 10, 11]
    assert forth.rule == "regdb"


def test_llcm_draws_one_image_of_each_identity_and_camera():
    index = make_index([(i, c, m) for i in (4, 2) for m in Modality for c in (9, 1, 3) for _ in range(5)])
    trials = build_trials(index, protocol=PROTOCOLS["llcm_visible_to_infrared"])
    assert len(trials) == 10
    for number, trial in enumerate(trials):
        assert (index.samples.modality[trial.query] == Modality.VISIBLE).all()
        assert len(trial.query) == 30
        drawn = [(int(index.identity[g]), int(index.samples.camera[g])) for g in trial.gallery]
        assert drawn == [(i, c) for i in (2, 4) for c in (1, 3, 9)]
        source = random.Random(number)
        assert [int(g) % 5 for g in trial.gallery] == [source.choice(range(5)) for _ in range(6)]
    assert len({tuple(trial.gallery.tolist()) for trial in trials}) > 1


def test_names_of_a_layout():
    assert find_layout("sysu").protocols[0].name == "sysu_all_single"
    assert sum((layout.protocols for layout in LAYOUTS.values()), ()) == tuple(PROTOCOLS.values())
    with pytest.raises(DataError, match="'market'"):
        find_layout("market")


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="protocol 'sysu' is unknown; the data is laid out as sysu: sysu_all_single"):
        protocols_of("sysu", ["sysu"])
    with pytest.raises(ConfigError, match="gallery rule 'best' is unknown"):
        build_trials(small_index(), protocol=PROTOCOLS["sysu_all_single"], gallery_rule="best")


def test_an_empty_side_is_one_clear_line():
    visible = make_index([(1, 4, Modality.VISIBLE)])
    with pytest.raises(DataError, match=r"no query image among the 1 test images \(needs infrared images\)"):
        build_trials(visible, protocol=PROTOCOLS["sysu_all_single"])
    both = make_index([(1, 4, Modality.VISIBLE), (1, 3, Modality.INFRARED)])
    with pytest.raises(DataError, match=r"no gallery image .*\(needs visible images of cameras 1, 2\)"):
        build_trials(both, protocol=PROTOCOLS["sysu_indoor_single"])
