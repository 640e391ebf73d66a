from pathlib import Path

import pytest

from ecul.config import Config
from ecul.errors import ConfigError
from ecul.parameters import PRESET_DEFAULTS
from ecul.schema import apply_overrides, setting_paths
from ecul.settings import clustering_parameters, config_tree, load_config, parse_config

MINIMAL = {"data": {"root": "somewhere"}}
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_is_valid_and_survives_a_round_trip(path: Path):
    config = load_config(path)
    assert parse_config(config_tree(config)) == config


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("clustering.united.k3=2", "k3 (2) must be at least k2 (4)"),
        ("clustering.united.kk=2", "did you mean clustering.united.k"),
        ("clustering.united.eps=1.5", "clustering.united.eps"),
        ("seed=-1", "got -1"),
        ("stages.iterations=no", "stages.iterations"),
        ("batch.batch_size=30", "multiple of instances"),
        ("clustering.intra.k3=40", "does not use k3"),
        ("model.weights=synthetic", "are for backbone small"),
        ("evaluation.split=validation", "hold_out_validation"),
        ("data.root.x=1", "holds a value"),
        ("clustering.k2=3", "clustering.k2 is now clustering.united.k2"),
        ("data.num_workers=0", "data.num_workers is now data.decode_threads"),
        ("memory.intra.switch_epoch=x", "memory.intra.switch_epoch: Input should be a valid integer"),
        ("memory.united.first_rule=median", "memory.united.first_rule"),
        ("memory.united.switch=3", "did you mean memory.united.switch_epoch?"),
    ],
)
def test_impossible_settings_are_refused_with_what_was_got(override: str, text: str):
    with pytest.raises(ConfigError, match=r".") as error:
        parse_config(apply_overrides(MINIMAL, [override]))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


# those that set or move numbers of their own preset
OWN_NUMBERS = {"smoke.yaml", "people.yaml", "sysu-lineage.yaml", "regdb-lineage.yaml"}


@pytest.mark.parametrize("name", sorted({path.name for path in CONFIGS.glob("*.yaml")} - OWN_NUMBERS))
@pytest.mark.parametrize("preset", PRESET_DEFAULTS)
def test_another_preset_needs_no_other_change_of_a_shipped_config(name: str, preset: str):
    # docs/extending.md says so; the numbers of the former preset would be refused
    config = load_config(CONFIGS / name, {"clustering.united.preset": preset, "clustering.intra.preset": preset})
    for part in (config.clustering.united, config.clustering.intra):
        assert {number: getattr(part, number) for number in PRESET_DEFAULTS[preset]} == PRESET_DEFAULTS[preset]


def test_nothing_to_train_is_refused():
    stages = {"bootstrap": 0, "intra": 0, "united": 0}
    with pytest.raises(ConfigError, match="nothing to train"):
        parse_config({**MINIMAL, "stages": stages})


@pytest.mark.parametrize("preset", PRESET_DEFAULTS)
def test_presets_take_their_own_defaults(preset: str):
    parameters = clustering_parameters(preset, {"eps": 0.5})
    assert parameters.eps == 0.5
    assert all(getattr(parameters, name) == value for name, value in PRESET_DEFAULTS[preset].items())


def test_unreadable_config_files_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="holds list"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(tmp_path / "broken.yaml")


def test_field_paths_reach_the_leaves():
    assert {"seed", "clustering.intra.k1", "memory.united.switch_epoch"} <= set(setting_paths(Config))


def test_a_file_holds_what_differs_from_its_base(tmp_path: Path):
    (tmp_path / "below").mkdir()
    (tmp_path / "base.yaml").write_text("data: {root: here, height: 64}\nseed: 3\n")
    (tmp_path / "below" / "one.yaml").write_text("base: ../base.yaml\ndata: {height: 32}\n")
    (tmp_path / "two.yaml").write_text("base: below/one.yaml\nstages: {intra: 2}\n")
    config = load_config(tmp_path / "two.yaml", {"data.width": 16})
    assert (config.data.root, config.data.height, config.data.width, config.seed) == ("here", 32, 16, 3)
    assert config.stages.intra == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: [a]", "expected the name of another"),
        ("base: x.yaml", "is its own base"),
        ("base: no.yaml", "cannot read"),
    ],
)
def test_a_base_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "x.yaml").write_text(f"{text}\ndata: {{root: here}}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "x.yaml")
