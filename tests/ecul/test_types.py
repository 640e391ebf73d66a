import numpy as np

from ecul.types import group_ids


def test_groups_are_pairs_of_modality_and_camera():
    modality, camera = np.array([1, 0, 0, 1]), np.array([1, 1, 2, 1])
    assert group_ids(modality, camera).tolist() == [2, 0, 1, 2]
