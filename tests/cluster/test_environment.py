from cluster.environment import DEFAULTS, train_variables


def test_a_training_in_another_process_gets_trains_own_variables_alone():
    variables = train_variables(health_check_interval_s=0.5, start_timeout_s=30)
    assert variables["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "0.5"
    assert variables["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] == "30"
    assert variables["RAY_TRAIN_ENABLE_PRINT_PATCH"] == DEFAULTS["RAY_TRAIN_ENABLE_PRINT_PATCH"]
    # how to join the cluster is the node's business
    assert all(name.startswith("RAY_TRAIN_") for name in variables)


def test_the_train_tab_is_filled_unless_it_is_turned_off():
    name = "RAY_TRAIN_ENABLE_STATE_TRACKING"
    for setting, expected in ((None, "1"), (True, "1"), (False, "0")):
        variables = train_variables(health_check_interval_s=0.5, start_timeout_s=30, train_tab=setting)
        assert variables[name] == expected
