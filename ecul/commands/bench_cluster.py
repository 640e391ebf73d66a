"""`ecul bench cluster`: seconds and memory of the clustering, stage by stage, as the number of images grows."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ecul.names import SearchBackend

if TYPE_CHECKING:
    from ecul.bench.clustering import Measured
    from ecul.types import ClusteringParameters


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul bench cluster`."""
    parser = subparsers.add_parser(
        "cluster",
        help="the clustering engine on simulated features",
        description="Clusters simulated features of each size and prints seconds by stage, peak memory beyond the "
        "features, the seconds of the search's bare matrix products (floor) with the search's multiple of them, and "
        "the fitted growth exponents; under each line the processor seconds of all threads, which other work on the "
        "machine hardly moves. The filter's time is part of extend.",
    )
    parser.add_argument("--sizes", type=int, nargs="+", required=True, metavar="N", help="numbers of images")
    parser.add_argument("--dim", type=int, default=2048, help="embedding size (default: 2048)")
    parser.add_argument("--groups", default="sysu", help="sysu (its six camera totals, scaled) or a number of cameras")
    parser.add_argument("--preset", default="emcc", help="the distance (default: emcc)")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE")
    parser.add_argument("--backend", choices=get_args(SearchBackend), default="auto", help="what proposes")
    parser.add_argument("--no-floor", action="store_true", help="leave the bare products out, which take most time")
    parser.add_argument("--reference", action="store_true", help="run the dense version beside it")
    parser.add_argument("--repeats", type=int, default=1, help="runs of the engine at each size; the fastest counts")
    parser.add_argument("--threads", type=int, metavar="N", help="threads to use (default: all processors)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers; a plot goes beside it as .png")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures each size and prints as it goes.

    Raises:
        ConfigError: a size, a number of groups or a parameter that cannot be used.
    """
    from ecul.bench import clustering as growth
    from ecul.schema import parse_assignments
    from ecul.settings import clustering_parameters

    parameters = clustering_parameters(args.preset, {**parse_assignments(args.set), "backend": args.backend})
    _check(args, parameters)
    growth.warm_up(parameters, args.groups)
    print(_header())
    runs: list[Measured] = []
    references: list[Measured] = []
    for size in args.sizes:
        runs.append(_measure(args, parameters, size, references))
    _print_exponents(runs)
    if args.json is not None:
        _save(args, runs, references)
    return 0


def _check(args: argparse.Namespace, parameters: "ClusteringParameters") -> None:
    from ecul.bench.dense import PRESETS, has_dense_version
    from ecul.errors import ConfigError
    from ecul.files import output_file

    if min(args.sizes) < 2 or args.dim < 2:
        raise ConfigError(f"--sizes {min(args.sizes)} and --dim {args.dim} must both be at least 2")
    if args.groups != "sysu" and not (args.groups.isdigit() and 1 <= int(args.groups) <= 1000):
        raise ConfigError(f"--groups is {args.groups!r}, expected sysu or a number of cameras from 1 to 1000")
    for name in ("threads", "repeats"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ConfigError(f"--{name} is {getattr(args, name)}, expected at least 1")
    if args.reference and not has_dense_version(parameters):
        raise ConfigError(
            f"--reference knows the presets {' and '.join(PRESETS)} with their default choices, not {args.preset} "
            f"{' '.join(args.set)}".rstrip()
        )
    if args.json is not None:
        output_file(args.json, option="--json")


def _measure(
    args: argparse.Namespace, parameters: "ClusteringParameters", size: int, references: "list[Measured]"
) -> "Measured":
    from ecul.bench import clustering as growth

    bank, identity = growth.simulated(size, args.dim, args.groups, args.seed)
    options = {"num_threads": args.threads, "floor": not args.no_floor}
    repeats = [growth.measure(bank, identity, parameters, **options) for _ in range(args.repeats)]
    run = min(repeats, key=lambda repeat: repeat.seconds["total"])
    print(_row("sparse", run), flush=True)
    if args.reference:
        dense = growth.measure_reference(bank, identity, parameters)
        references.append(dense)
        print(_row("dense", dense))
        times = growth.ratios(run, dense)
        print("  " + ", ".join(f"{name} {value:.1f}x" for name, value in times.items()), flush=True)
    return run


def _header() -> str:
    from ecul.bench.clustering import STAGES

    names = (*STAGES, "after", "total", "MiB", "clusters", "cross_p", "cross_r", "floor", "x floor", "again")
    return f"{'':<8}{'images':>9}" + "".join(f"{name:>9}" for name in names)


def _row(name: str, run: "Measured") -> str:
    seconds = "".join(f"{value:9.3f}" for value in run.seconds.values())
    precision, recall = run.metrics["cross_precision"], run.metrics["cross_recall"]
    counts = f"{run.peak_mib:9.1f}{run.clusters:9d}{precision:9.3f}{recall:9.3f}"
    processor = "".join(f"{value:9.3f}" for value in run.cpu_seconds.values())
    floor, floor_cpu = "", ""
    if "floor" in run.metrics:
        floor = f"{run.metrics['floor']:9.3f}{run.metrics['over_floor']:9.3f}{run.metrics['rows_again']:9.0f}"
        floor_cpu = f"{'':36}{run.metrics['floor_cpu']:9.3f}{run.metrics['over_floor_cpu']:9.3f}"
    return f"{name:<8}{run.images:>9}{seconds}{counts}{floor}\n{'  (cpu)':<17}{processor}{floor_cpu}"


def _print_exponents(runs: "list[Measured]") -> None:
    from ecul.bench.clustering import exponent

    if len({run.images for run in runs}) < 2:
        return
    values = "".join(f"{exponent(runs, stage):9.2f}" for stage in runs[0].seconds)
    print(f"{'exponent':<17}" + values)
    values = "".join(f"{exponent(runs, stage, cpu=True):9.2f}" for stage in runs[0].cpu_seconds)
    print(f"{'  (cpu)':<17}" + values)


def _save(args: argparse.Namespace, runs: "list[Measured]", references: "list[Measured]") -> None:
    """Writes the JSON and the plot beside it."""
    from ecul.bench import clustering as growth
    from ecul.errors import DataError
    from ecul.files import write_atomically

    report = {
        "machine": growth.stamp(),
        "options": {
            name: getattr(args, name)
            for name in ("sizes", "dim", "groups", "preset", "set", "backend", "seed", "repeats")
        },
        "runs": [asdict(run) for run in runs],
        "reference": [asdict(run) for run in references],
        "ratios": [growth.ratios(run, dense) for run, dense in zip(runs, references, strict=False)],
        "exponents": {
            stage: {"seconds": growth.exponent(runs, stage), "cpu_seconds": growth.exponent(runs, stage, cpu=True)}
            for stage in (runs[0].seconds if len(runs) > 1 else ())
        },
    }
    try:
        write_atomically(args.json, json.dumps(report, indent=2) + "\n")
        growth.plot_growth(runs, args.json.with_suffix(".png"), title=f"{args.preset}, {args.dim}-d, {args.backend}")
    except OSError as error:
        raise DataError(f"cannot write {args.json}: {error.strerror}") from None
