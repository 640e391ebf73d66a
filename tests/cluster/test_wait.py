import pytest

from cluster import wait
from cluster.wait import main, wait_for_nodes
from ecul.errors import EculError


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(wait, "_POLL_S", 0.01)


def test_it_waits_until_there_are_enough():
    counts = iter([0, 1, 1, 3])
    assert wait_for_nodes(2, 30, lambda: next(counts)) == 3


def test_the_longest_wait_ends_with_how_many_there_are():
    with pytest.raises(EculError, match=r"1 of 2 nodes have joined within 0.05 s"):
        wait_for_nodes(2, 0.05, lambda: 1)


def test_bad_numbers_are_named(capsys):
    assert main(["--nodes", "0"]) == 2
    assert "--nodes must be at least 1 and --timeout above 0; got 0 and 300" in capsys.readouterr().err
