"""`python -m cluster.wait`: waits until a Ray cluster has enough nodes, for scripts that start them one by one."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from cluster.environment import connect, prepare
from ecul.console import Parser, run_command
from ecul.errors import ConfigError, EculError

_POLL_S = 1.0


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(prog="python -m cluster.wait", description="Wait until a Ray cluster has enough nodes.")
    parser.add_argument("--nodes", type=int, required=True, metavar="N", help="living nodes to wait for, the head too")
    parser.add_argument("--timeout", type=float, default=300, metavar="S", help="longest wait in seconds (default 300)")
    parser.add_argument("--address", default="auto", help="Ray cluster: auto or HOST:PORT; it may not answer yet")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 once the nodes are there, 2 after the longest wait."""
    args = build_parser().parse_args(argv)
    return run_command("cluster.wait", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.nodes < 1 or args.timeout <= 0:
        raise ConfigError(f"--nodes must be at least 1 and --timeout above 0; got {args.nodes} and {args.timeout:g}")
    prepare()
    found = wait_for_nodes(args.nodes, args.timeout, lambda: _living(args.address))
    sys.stdout.write(f"{found} nodes\n")
    return 0


def wait_for_nodes(wanted: int, timeout: float, count: Callable[[], int]) -> int:
    """Returns how many nodes there are, once there are enough.

    Args:
        wanted: number of nodes.
        timeout: longest wait in seconds.
        count: says how many living nodes there are now.

    Raises:
        EculError: there are fewer after the longest wait.
    """
    deadline = time.monotonic() + timeout
    while (found := count()) < wanted:
        if time.monotonic() >= deadline:
            raise EculError(
                f"{found} of {wanted} nodes have joined within {timeout:g} s; look at the others' output, "
                "or wait longer (--timeout)"
            )
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))
    return found


def _living(address: str) -> int:
    """Living nodes of the cluster; 0 while its head does not answer."""
    import ray

    try:
        connect(address)
    except EculError:
        return 0
    return sum(node["Alive"] for node in ray.nodes())


if __name__ == "__main__":
    sys.exit(main())
