import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.data.batches import local_slice
from ecul.data.samplers import ClusterMembers, plan_bootstrap, plan_epoch

MODALITY = np.repeat([0, 1], 20).astype(np.int32)
CAMERA = np.tile([1, 2], 20).astype(np.int32)
INTRA = np.concatenate([np.arange(20) % 4, np.arange(20) % 5]).astype(np.int32)


def plans(united: np.ndarray | None = None, seed: int = 0, fraction: float = 0.5, iterations: int = 6, batch="mixed"):
    return list(
        plan_epoch(
            INTRA,
            united,
            MODALITY,
            CAMERA,
            iterations=iterations,
            batch_size=8,
            instances=4,
            united_fraction=fraction,
            generator=np.random.default_rng(seed),
            united_batch=batch,
        )
    )


def test_each_side_holds_its_modality_in_blocks_of_one_cluster():
    for plan in plans():
        assert (MODALITY[plan.visible] == 0).all()
        assert (MODALITY[plan.infrared] == 1).all()
        for positions in (plan.visible, plan.infrared):
            assert all(len(set(INTRA[block])) == 1 for block in positions.reshape(-1, 4))


def test_every_cluster_is_seen_before_any_comes_again():
    seen = list(itertools.chain(*(INTRA[plan.visible].reshape(-1, 4)[:, 0] for plan in plans(iterations=2))))
    assert sorted(seen) == [0, 1, 2, 3]


def test_noise_is_never_drawn():
    labels = INTRA.copy()
    labels[::2] = -1
    members = ClusterMembers(labels, np.arange(20), CAMERA)
    drawn = [members.draw(cluster, 6, np.random.default_rng(0)) for cluster in members.clusters.tolist()]
    assert (labels[np.concatenate(drawn)] >= 0).all()


def test_united_clusters_are_shared_by_both_sides():
    united = np.full(40, -1, np.int32)
    united[[0, 4, 8, 20, 25]] = 0
    united[[1, 5, 9]] = 1  # visible only: not for both sides
    for plan in plans(united):
        assert set(united[plan.visible[:4]]) == {0}
        assert set(united[plan.infrared[:4]]) == {0}


def three_united_clusters() -> np.ndarray:
    """Cluster 0 holds both modalities, 1 visible images only, 2 infrared ones only."""
    united = np.full(40, -1, np.int32)
    united[[0, 4, 8, 20, 25]] = 0
    united[[1, 5, 9]] = 1
    united[[31, 32]] = 2
    return united


def test_a_batch_of_its_own_holds_the_united_clusters_and_leaves_the_other_to_the_rest():
    united = three_united_clusters()
    for plan in plans(united, batch="own"):
        first, second = plan.parts
        assert len(set(INTRA[first.visible].tolist())) == 2
        assert set(united[second.visible]) == set(united[second.infrared]) == {0}
        assert (MODALITY[second.infrared] == 1).all()
        assert len(second.visible) == len(second.infrared) == 8
    assert all(len(plan.parts) == 1 for plan in plans(None, batch="own"))


def test_each_modality_may_draw_from_all_united_clusters_by_itself():
    united = three_united_clusters()
    drawn = plans(united, batch="own_unpaired")
    assert {label for plan in drawn for label in united[plan.parts[1].visible]} == {0, 1}
    assert {label for plan in drawn for label in united[plan.parts[1].infrared]} == {0, 2}


def test_cameras_take_turns_and_scarce_images_repeat():
    members = ClusterMembers(np.zeros(7, np.int32), np.arange(7), np.array([1, 1, 1, 1, 1, 2, 3], np.int32))
    for seed in range(5):
        drawn = members.draw(0, 3, np.random.default_rng(seed))
        assert {5, 6} < set(drawn.tolist())
        assert len(members.draw(0, 20, np.random.default_rng(seed))) == 20


@settings(deadline=None)
@given(st.integers(0, 100))
def test_equal_generators_give_equal_plans(seed: int):
    for first, second in zip(plans(seed=seed), plans(seed=seed), strict=True):
        assert (first.visible == second.visible).all()
        assert (first.infrared == second.infrared).all()


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_every_rank_gets_the_same_mix_of_united_and_other_clusters(world_size: int):
    block = np.arange(8) // 4  # of a plan: a united cluster's four images, then those of another
    parts = [block[local_slice(8, rank=rank, world_size=world_size)] for rank in range(world_size)]
    assert sorted(np.concatenate(parts).tolist()) == block.tolist()
    if world_size <= 4:
        assert [np.bincount(part).tolist() for part in parts] == [[4 // world_size] * 2] * world_size


def test_bootstrap_draws_images_of_both_modalities():
    for plan in plan_bootstrap(MODALITY, iterations=2, batch_size=30, generator=np.random.default_rng(0)):
        assert len(plan.visible) == len(plan.infrared) == 30
        assert (MODALITY[plan.infrared] == 1).all()
