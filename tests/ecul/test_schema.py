from pathlib import Path

import pytest
from pydantic import Field, create_model

from cluster.config import load_cluster_config
from ecul.errors import ConfigError
from ecul.schema import Strict, apply_overrides, check, load_yaml, merge, parse_assignments, setting_paths
from ecul.settings import load_config
from tune.config import load_sweep

SWEEP = "base: configs/synthetic.yaml\nobjectives: {features: [{metric: stability}]}\n"


@pytest.mark.parametrize(
    ("load", "text", "said"),
    [
        (
            load_config,
            "data: {root: x}\nclustering: {united: {k22: 3}}\n",
            "unknown key clustering.united.k22; did you mean clustering.united.k2",
        ),
        (load_cluster_config, "num_wokers: 2\n", "unknown key num_wokers; did you mean num_workers?"),
        (load_cluster_config, "clustering: {shrads: 2}\n", "did you mean clustering.shards?"),
        (load_sweep, SWEEP + "space: {seed: {int: [1, 2]}}\ntrails: 3\n", "unknown key trails; did you mean trials?"),
        (load_sweep, SWEEP + "space: {seed: {integer: [1, 2]}}\n", "did you mean space.seed.int"),
    ],
)
def test_a_typo_is_helped_in_all_three_kinds_of_file(load, text: str, said: str, tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("load", [load_config, load_cluster_config, load_sweep])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\ndata: {root: x}\nseed: 2\n", "the key seed stands in line 1 and again in line 3; keep one"),
        ("a: {b: 1,\n b: 2}", "the key b stands in line 1 and again in line 2"),
        ("- 1\n", "holds list, expected keys such as"),
        ("a: [", "is not YAML"),
        ("a: !!python/object:os.system {}", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_in_one_line(load, text: str, said: str, tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert said in str(error.value)
    assert "x.yaml" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("load", [load_config, load_cluster_config, load_sweep])
def test_a_missing_file_says_where_examples_are(load, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file.*configs/"):
        load(tmp_path / "nowhere.yaml")


def test_anchors_and_merge_keys_are_no_duplicates(tmp_path: Path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")
    assert load_yaml(path, what="file", keys="a", shipped="x")["b"] == {"x": 3, "y": 2}


class _Inner(Strict):
    depth: int = Field(1, ge=1)


class _Outer(Strict):
    inner: _Inner = _Inner.model_validate({})
    named: dict[str, _Inner] = Field(default_factory=dict)
    listed: tuple[_Inner, ...] = ()
    renamed: int = Field(0, alias="re")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"inner": {"dept": 1}}, "did you mean inner.depth?"),
        ({"named": {"x": {"dept": 1}}}, "did you mean named.x.depth?"),
        ({"listed": [{"dept": 1}]}, "did you mean listed.0.depth?"),
        ({"inner": {"depth": 0}}, "inner.depth: Input should be greater than or equal to 1, got 0"),
        ({"qqqq": 1}, "unknown key qqqq; expected one of inner, named, listed, re"),
        ({"inner": {"qqqq": 1}}, "unknown key inner.qqqq; inner has depth"),
        ({"listed": [{"qqqq": 1}]}, "unknown key listed.0.qqqq; listed.0 has depth"),
    ],
)
def test_problems_name_the_path_and_what_was_got(tree: dict[str, object], said: str):
    with pytest.raises(ConfigError) as error:
        check(_Outer, tree, what="file")
    assert str(error.value).startswith("file: ")
    assert said in str(error.value)


def test_of_a_section_with_many_keys_some_are_named():
    many = create_model("Many", __base__=Strict, **{f"key{number}": (int, 0) for number in range(14)})  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(ConfigError, match=r"expected one of key0, .*, key12, \.\.\. \(docs/configuration\.md\)$"):
        check(many, {"qqqq": 1})


def test_a_setting_of_a_section_is_named_where_none_is_similar():
    with pytest.raises(ConfigError, match=r"unknown key optim\.lr; optim has learning_rate, weight_decay, .*norm$"):
        load_config("configs/smoke.yaml", ["optim.lr=0.1"])
    with pytest.raises(ConfigError, match=r"unknown key evaluation\.foo; evaluation has every, split, "):
        load_config("configs/smoke.yaml", ["evaluation.foo=1"])
    with pytest.raises(ConfigError, match=r"unknown key learning_rate; did you mean optim\.learning_rate\?"):
        load_config("configs/smoke.yaml", ["learning_rate=1"])


def test_setting_paths_are_the_leaves_as_they_are_written():
    assert setting_paths(_Outer) == ["inner.depth", "named", "listed", "re"]


def test_assignment_values_are_yaml():
    assert parse_assignments(["a.b=1", "c=null", "d=[x, y]", "e=2e-3"]) == {
        "a.b": 1, "c": None, "d": ["x", "y"], "e": "2e-3",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="path=value"):
        parse_assignments(["novalue"])
    with pytest.raises(ConfigError, match="not YAML"):
        parse_assignments(["a={b: 1, b: 2}"])


def test_merge_leaves_the_given_tree_alone():
    tree = {"a": {"b": 1}}
    assert merge(tree, {"a.c": 2}) == {"a": {"b": 1, "c": 2}}
    assert tree == {"a": {"b": 1}}
    with pytest.raises(ConfigError, match=r"a\.b\.c: a\.b holds a value"):
        apply_overrides(tree, ["a.b.c=1"])
