"""Where training time goes."""

from dataclasses import replace

from torch.profiler import ProfilerActivity, profile

from ecul.bench.bare import bare_training, extraction
from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.engine.epoch import run_epoch
from ecul.engine.interfaces import Reporter
from ecul.engine.session import open_data, open_session
from ecul.settings import updated

_WARM_UP_STEPS = 3
_PROFILED_STEPS = 5
"""A ResNet-50 has thousands of events a step, which the profiler takes seconds to sum up."""
_PREFIX = "ecul/"


def time_training(config: Config, *, steps: int) -> dict[str, float]:
    """Returns images/s of timed steps of the last stage, of the extraction and of the bare network in both.

    Seconds of each part of a step come from a profiled repeat of a few steps.

    The parts are measured with torch's profiler on, so their shares mean more than their sums. On a GPU they are
    device time.

    Args:
        config: of the run; its dataset is read, nothing is written.
        steps: timed steps, after a few untimed ones.
    """
    dataset = open_data(config)
    metrics: dict[str, float] = {}
    last = config.num_epochs
    for num_steps in (_WARM_UP_STEPS, steps):
        short = updated(config, {"stages.iterations": num_steps})
        session, state = open_session(short, dataset, clustering_fn=cluster_epoch, reporter=Reporter())
        metrics = run_epoch(session, state, last)
    on_gpu = session.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    few = replace(session, config=updated(config, {"stages.iterations": min(steps, _PROFILED_STEPS)}))
    with profile(activities=activities) as profiler:
        run_epoch(few, state, last)
    parts = {
        f"seconds/{event.key.removeprefix(_PREFIX)}": (event.device_time_total if on_gpu else event.cpu_time_total)
        / 1e6
        for event in profiler.key_averages()
        if event.key.startswith(_PREFIX)
    }
    speeds = {
        "images_per_second": metrics["images_per_second"],
        "bare_images_per_second": bare_training(session, state.optimizer, steps=steps),
        **extraction(session, state.model),
    }
    return {**speeds, "images": round(metrics["images_per_second"] * metrics["seconds/train"])} | parts
