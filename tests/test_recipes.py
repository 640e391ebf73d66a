"""Each shipped recipe and baseline runs from its first epoch to its evaluation, on small synthetic data."""

from functools import partial
from pathlib import Path

import pytest

from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.data.synthetic import synthesize
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory, read_records
from ecul.names import StageName
from ecul.settings import config_tree, load_config

CONFIGS = Path(__file__).parents[1] / "configs"
TINY = {
    "data.height": 32,
    "data.width": 16,
    "data.crop_padding": 2,
    "model.backbone": "small",
    "model.weights": "synthetic",
    "model.non_local": False,
    "stages.iterations": 2,
    "batch.batch_size": 8,
    "batch.instances": 2,
    "evaluation.every": 0,
    "runtime.device": "cpu",
    "runtime.report": False,
}
INTRA = {"loss/intra_visible", "loss/intra_infrared"}
UNITED = INTRA | {"loss/united"}
BLENDED = INTRA | {"blend/visible_rows", "blend/infrared_rows"}
LINEAGE = {
    1: INTRA | {"loss/bank_intra"},
    1.5: BLENDED | {"loss/bank_intra"},
    2: UNITED | BLENDED | {"loss/bank_intra", "loss/bank_united"},
}
RECIPES = {
    "sysu": {1: INTRA, 2: UNITED | {"loss/instance"}},
    "regdb": {1: INTRA, 2: UNITED | {"loss/instance"}},
    "sysu-lineage": LINEAGE,
    "regdb-lineage": LINEAGE,
    "baselines/intra-only": {1: INTRA},
    "baselines/adca-like": {1: INTRA, 1.5: BLENDED},
    "baselines/pca-like": {1: INTRA, 2: UNITED},
    "baselines/bmil-like": {1: INTRA, 2: UNITED},
}
"""{file: {stage: what its records hold}}; a stage that is not named has no epochs."""
SMALL = {"intra": {"eps": 0.5, "k1": 8, "k2": 2, "k3": 4}, "united": {"eps": 0.45, "k1": 12, "k2": 4, "k3": 12}}


@pytest.fixture(scope="module")
def tiny_regdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "regdb"
    synthesize(folder, layout="regdb", num_identities=12, num_test_identities=6, height=32, width=16, seed=3)
    return folder


def small_numbers(config: Config) -> dict[str, object]:
    """Changes that let the recipe's distances find clusters among twelve people, seen by an untrained network."""
    changes: dict[str, object] = {}
    for section, values in SMALL.items():
        whole = config_tree(config)["clustering"][section]
        schedule = whole.get("schedule", {})
        for name in values.keys() & whole.keys():
            changes[f"clustering.{section}.{name}"] = values[name]
        for stage, moves in schedule.items() if section == "intra" else [("", schedule)]:
            for name in values.keys() & {name for name, move in moves.items() if "first" in move}:
                path = ".".join(filter(None, ("clustering", section, "schedule", stage, name, "first")))
                changes[path] = values[name]
    return changes


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_through_all_its_stages(name: str, tiny_sysu: Path, tiny_regdb: Path, tmp_path: Path):
    path = CONFIGS / f"{name}.yaml"
    shipped = load_config(path)
    lengths = {f"stages.{stage}": min(shipped.stages.length(stage), 1) for stage in ("intra", "blend", "united")}
    root = tiny_regdb if shipped.data.layout == "regdb" else tiny_sysu
    protocols = {"evaluation.protocols": ["sysu_all_single" if root == tiny_sysu else "regdb_visible_to_infrared"]}
    config = load_config(path, TINY | {"data.root": str(root)} | protocols | lengths | small_numbers(shipped))
    reporter, store = RunDirectory(tmp_path), LocalStore(tmp_path)
    fit(config, clustering_fn=partial(cluster_epoch, num_threads=1), reporter=reporter, store=store)
    records = read_records(tmp_path)
    assert [record["stage"] for record in records] == list(RECIPES[name])
    assert "evaluation/map" in records[-1]
    for record in records:
        assert record["fallbacks"] == 0
        assert RECIPES[name][record["stage"]] <= set(record)


def numbers(name: str, section: str, *, stage: StageName, epoch: int) -> tuple[float, ...]:
    """(eps, k1, quota, window) of a recipe of the lineage in the n-th epoch of a stage."""
    clustering = load_config(CONFIGS / f"{name}.yaml").clustering
    found = clustering.united.at(epoch) if section == "united" else clustering.intra.at(stage, epoch)
    return round(found.eps, 3), found.k1, found.k2, found.k3


@pytest.mark.parametrize(
    ("name", "section", "stage", "first", "turn", "last"),
    [
        ("sysu-lineage", "intra", "intra", (0.6, 20, 6, 12), None, (25, 0.43, 35, 10, 21)),
        ("sysu-lineage", "intra", "blend", (0.6, 30, 6, 12), 0.3, (25, 0.382, 42, 10, 21)),
        ("sysu-lineage", "intra", "united", (0.6, 30, 6, 12), 0.3, (50, 0.59, 61, 18, 37)),
        ("sysu-lineage", "united", "united", (0.6, 40, 16, 40), 0.3, (50, 0.59, 123, 16, 123)),
        ("regdb-lineage", "intra", "intra", (0.3, 20, 3, 6), None, (30, 0.247, 28, 4, 8)),
        ("regdb-lineage", "intra", "blend", (0.3, 30, 3, 6), 0.2, (30, 0.242, 37, 5, 10)),
        ("regdb-lineage", "intra", "united", (0.3, 40, 8, 16), 0.2, (60, 0.329, 60, 12, 24)),
        ("regdb-lineage", "united", "united", (0.3, 60, 10, 60), 0.2, (60, 0.329, 90, 15, 90)),
    ],
)
def test_the_lineage_moves_as_published(name, section, stage, first, turn, last):
    """The numbers that MPJL's training scripts compute for the first, eleventh and last epoch of each stage."""
    assert numbers(name, section, stage=stage, epoch=1) == first
    epochs, *values = last
    assert load_config(CONFIGS / f"{name}.yaml").stages.length(stage) == epochs
    assert numbers(name, section, stage=stage, epoch=epochs) == tuple(values)
    if turn is not None:
        assert numbers(name, section, stage=stage, epoch=11)[0] == turn


@pytest.mark.parametrize("name", sorted(path.name for path in (CONFIGS / "ablation").glob("*.yaml")))
def test_an_ablation_changes_something_of_the_base(name: str):
    config, base = (config_tree(load_config(CONFIGS / "ablation" / file)) for file in (name, "base.yaml"))
    assert (config == base) == (name == "base.yaml")
