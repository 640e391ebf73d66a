import pytest

from ecul.config import Config
from ecul.schema import setting_paths
from tests.tune.conftest import BASE
from tune.roles import ROLES, intra_parameters, label_of, role_of, united_parameters


def test_every_role_is_of_something_in_the_configuration():
    paths = setting_paths(Config)
    sections = {path.rsplit(".", depth)[0] for path in paths for depth in range(1, path.count(".") + 1)}
    assert set(ROLES) <= {*paths, *sections}


@pytest.mark.parametrize(
    ("path", "searchable", "in_features", "first_stage", "is_switch"),
    [
        ("data.root", False, False, 0, False),
        ("data.height", True, False, 0, False),
        ("evaluation.split", False, False, 0, False),
        ("runtime.device", False, False, 0, False),
        ("warm_start", False, False, 0, False),
        ("clustering.united.k3", True, True, 2, False),
        ("clustering.united.schedule.eps.first", True, False, 2, False),
        ("clustering.united.centring", True, True, 2, False),
        ("clustering.intra.schedule.intra.k1.first", True, False, 1, False),
        ("clustering.intra.schedule.united.k1.first", True, False, 2, False),
        ("clustering.selection.max_distance", True, False, 2, False),
        ("clustering.intra.eps", True, True, 1, False),
        ("memory.united.switch_epoch", True, False, 2, True),
        ("memory.united.first_momentum", True, False, 2, False),
        ("memory.intra.switch_epoch", True, False, 1, True),
        ("memory.intra.first_momentum", True, False, 0, False),
        ("memory.instances.switch_epoch", True, False, 1, True),
        ("memory.blend.threshold", True, False, 0, False),
        ("batch.united", True, False, 2, False),
        ("loss.bank.united_weight", True, False, 2, False),
        ("loss.bank.intra_weight", True, False, 0, False),
        ("optim.learning_rate", True, False, 0, False),
    ],
)
def test_the_longest_entry_counts(path, searchable, in_features, first_stage, is_switch):
    role = role_of(path)
    assert (role.searchable, role.in_features) == (searchable, in_features)
    assert (role.first_stage, role.is_switch) == (first_stage, is_switch)


def test_both_clusterings_have_their_own_numbers():
    config = Config.model_validate(BASE)
    assert united_parameters(config).preset == "emcc"
    assert intra_parameters(config).preset == "kreciprocal"


def test_pictures_leave_out_the_common_section():
    assert [
        label_of(path) for path in ("clustering.united.k2", "memory.united.switch_epoch", "optim.learning_rate")
    ] == [
        "k2",
        "united.switch_epoch",
        "optim.learning_rate",
    ]
