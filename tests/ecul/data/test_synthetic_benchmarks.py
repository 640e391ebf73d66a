"""Benchmarks: enough people, as uneven as the real set, and people whom one modality never sees."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ecul.cli import main
from ecul.data.dataset import SYNTHETIC_MARKER, open_dataset
from ecul.data.doctor import inspect_dataset
from ecul.data.synthetic.benchmarks import BENCHMARKS
from ecul.data.synthetic.plan import Plan, PlanRequest, make_plan
from ecul.data.synthetic.presence import SYSU_CAMERAS, SYSU_MODALITY, SYSU_TRAINING
from ecul.names import Benchmark


def planned(**changes: object) -> Plan:
    people = BENCHMARKS["people"]
    numbers = {
        "num_identities": people.num_identities,
        "num_test_identities": people.num_test_identities,
        "images_per_camera": people.images_per_camera,
        "imbalanced": True,
        "seed": 0,
    }
    return make_plan("sysu", PlanRequest(**(numbers | changes)))


def table_of(plan: Plan) -> np.ndarray:
    """Images (people, 6) of each person under each camera."""
    table = np.zeros((max(shots.identity.max() for shots, _ in plan.parts), len(SYSU_CAMERAS)), int)
    for shots, _ in plan.parts:
        np.add.at(table, (shots.identity - 1, shots.camera - 1), 1)
    return table


@pytest.mark.parametrize("name", get_args(Benchmark))
def test_a_benchmark_has_people_to_train_to_validate_and_to_test_on(name: Benchmark):
    people = BENCHMARKS[name]
    splits = planned(num_identities=people.num_identities, num_test_identities=people.num_test_identities).files
    sizes = [len(text.split(",")) for text in splits.values()]
    assert sizes[0] >= 200
    assert sizes[1] >= 50
    assert sizes[2] >= 100


def test_a_benchmark_is_as_uneven_as_the_real_set():
    table, real = table_of(planned()), np.zeros((0, 6))
    for number, images in SYSU_TRAINING:
        real = np.concatenate([real, np.tile(np.array(images) / number, (number, 1))])
    # who is seen where: about half under three cameras, most others under all six
    drawn, known = ((np.asarray(counts) > 0).sum(axis=1) for counts in (table, real))
    for cameras in (3, 6):
        assert (drawn == cameras).mean() == pytest.approx((known == cameras).mean(), abs=0.08)
    # images of each camera, and of each modality
    np.testing.assert_allclose(table.sum(axis=0) / table.sum(), real.sum(axis=0) / real.sum(), atol=0.03)
    visible = np.array(SYSU_MODALITY) == 0
    assert table[:, visible].sum() / table.sum() == pytest.approx(real[:, visible].sum() / real.sum(), abs=0.03)
    assert table.sum() / (table > 0).sum() == pytest.approx(BENCHMARKS["people"].images_per_camera, rel=0.1)


@pytest.mark.parametrize("imbalanced", [True, False])
def test_unpaired_people_are_seen_in_one_modality_and_only_training_has_them(imbalanced: bool):
    plan, whole = (planned(imbalanced=imbalanced, unpaired_share=share) for share in (0.3, 0.0))
    visible = np.array(SYSU_MODALITY) == 0
    counts, all_counts = table_of(plan), table_of(whole)
    seen = np.stack([counts[:, side].sum(axis=1) > 0 for side in (visible, ~visible)], axis=1)
    assert seen.any(axis=1).all()
    unpaired = np.flatnonzero(~seen.all(axis=1)) + 1
    assert len(unpaired) == 60  # .3 of the 200 training people
    assert unpaired.max() <= 200
    assert seen[unpaired - 1].sum(axis=0).tolist() == [30, 30]
    kept = counts > 0
    np.testing.assert_array_equal(counts[kept], all_counts[kept])  # nothing else changes


def test_the_command_draws_a_small_benchmark_that_the_doctor_accepts(tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = tmp_path / "set"
    size = ["--identities", "20", "--test-identities", "8", "--size", "16x16"]
    assert main(["synth", "--benchmark", "people-easy", "--unpaired", "0.5", *size, "--out", str(folder)]) == 0
    marker = json.loads((folder / SYNTHETIC_MARKER).read_text())
    assert (marker["benchmark"], marker["unpaired_share"]) == ("people-easy", 0.5)
    assert marker["difficulty"]["polarity_agreement"] == BENCHMARKS["people-easy"].difficulty.polarity_agreement
    assert inspect_dataset(folder).problems == ()
    dataset = open_dataset(folder, layout="auto", hold_out_validation=True)
    assert dataset.validation is not None
    for index, unpaired in ((dataset.train, 8), (dataset.validation, 0), (dataset.test, 0)):
        sides = [set(index.identity[index.samples.modality == side].tolist()) for side in (0, 1)]
        assert len(sides[0] ^ sides[1]) == unpaired
