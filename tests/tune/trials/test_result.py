from ray.tune.utils import flatten_dict

from tune.trials.result import is_finished, metrics_of, result_key, trial_result


def test_what_a_trial_reports_is_read_back_after_ray_has_flattened_it():
    flat = flatten_dict(trial_result({"validation_map": 0.5, "stability": 1}, finished=True) | {"epoch": 3})
    assert metrics_of(flat) == {"validation_map": 0.5, "stability": 1.0}
    assert flat[result_key("validation_map")] == 0.5
    assert is_finished(flat)


def test_nothing_reported_is_no_metric_and_not_finished():
    assert metrics_of({}) == {}
    assert not is_finished({})
