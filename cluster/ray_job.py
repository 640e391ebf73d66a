"""The Ray job that this process belongs to, so that a tracker's run can be found in the dashboard and back."""

from typing import Any


def ray_job() -> dict[str, str]:
    """Returns `job_id`, and `submission_id` where the job was submitted; empty in a process without Ray."""
    import ray  # not above: the commands import this before they prepare the environment that Ray reads
    from ray._private.worker import global_worker

    if not ray.is_initialized():
        return {}
    job = {"job_id": ray.get_runtime_context().get_job_id()}
    worker: Any = global_worker  # Ray has no public access to the metadata of the own job
    if submission := worker.core_worker.get_job_config().metadata.get("job_submission_id"):
        job["submission_id"] = submission
    return job
