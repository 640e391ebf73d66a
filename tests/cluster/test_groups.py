"""What a controller does for its placement groups, without a cluster."""

import os
from types import SimpleNamespace

from ray.train.v2._internal.callbacks import placement_group_callback
from ray.train.v2._internal.execution.worker_group import worker_group

from cluster import groups
from cluster.config import load_cluster_config
from cluster.guard import RunGuard
from cluster.storage import RunFolder


def test_a_guard_that_arrives_in_the_controller_names_groups_and_sets_a_helper_that_begins_by_itself(
    tmp_path, monkeypatch
):
    made = []
    context = SimpleNamespace(get_actor_id=lambda: "a", gcs_address="here:1")
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    monkeypatch.setattr(groups.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(groups, "placement_group", lambda *args, **options: made.append(options["name"]))
    monkeypatch.setattr(worker_group, "placement_group", worker_group.placement_group)
    monkeypatch.setattr(placement_group_callback, "PlacementGroupCleaner", None)
    started = []
    monkeypatch.setattr(groups.Cleaner, "start_monitoring", lambda self: started.append(self._controller_actor_id))

    guard = RunGuard(RunFolder(str(tmp_path), "run"), load_cluster_config(None))
    arrived = RunGuard.__new__(RunGuard)
    arrived.__setstate__(guard.__dict__)
    for _ in range(2):
        worker_group.placement_group(bundles=[{"CPU": 1}])
    assert all(name.startswith(f"{tmp_path}/run a ") for name in made)
    assert len(set(made)) == 2
    helper = placement_group_callback.PlacementGroupCleaner
    assert helper is groups.Cleaner
    helper(controller_actor_id="a", check_interval_s=1.0, get_actor_timeout_s=1.0, stop_timeout=None)
    assert started == ["a"]
    assert os.environ["RAY_ADDRESS"] == "here:1"


def test_only_groups_of_the_run_are_removed(tmp_path, monkeypatch):
    run = tmp_path / "run"
    table = {
        "aa" * 18: {"name": f"{run} a 12345678", "state": "CREATED"},
        "bb" * 18: {"name": f"{run} a 12345679", "state": "REMOVED"},
        "cc" * 18: {"name": f"{run}2 a 12345678", "state": "CREATED"},
        "dd" * 18: {"name": "", "state": "PENDING"},
    }
    removed = []
    monkeypatch.setattr(groups, "placement_group_table", lambda: table)
    monkeypatch.setattr(groups, "remove_placement_group", lambda group: removed.append(group.id.hex()))
    assert groups.remove_groups(RunFolder(str(tmp_path), "run")) == 1
    assert removed == ["aa" * 18]
