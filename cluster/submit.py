"""`python -m cluster.submit`: submit a command to a Ray cluster as a job; follow, query or stop a job."""

import argparse
import asyncio
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.environment import prepare
from cluster.upload import EXCLUDES, check_upload
from ecul.console import Parser, run_command
from ecul.errors import ConfigError

EXIT_FAILED = 1
EXIT_STOPPED = 130
_POLL_S = 0.5
_LONGEST_PAUSE_S = 30.0
_SECRET = re.compile(r"(key|token|secret|passw(or)?d|passphrase|credential)s?(_|$)", re.IGNORECASE)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m cluster.submit",
        description="Submit a command to a Ray cluster as a job. With --follow the exit code is the job's.",
    )
    parser.add_argument("--address", default="http://127.0.0.1:8265", metavar="URL", help="of the cluster's dashboard")
    parser.add_argument("--config", metavar="FILE", help="without a command: train this configuration over the cluster")
    parser.add_argument("--storage", metavar="PATH", help="with --config: folder or URI for the run, seen by all nodes")
    parser.add_argument("--working-dir", default=".", metavar="DIR", help="uploaded, but for .gitignore and .rayignore")
    parser.add_argument("--limit-mib", type=float, default=50, metavar="N", help="largest upload (default 50)")
    parser.add_argument("--env", action="append", default=[], metavar="K=V", help="environment variable of the job")
    parser.add_argument("--name", metavar="ID", help="of the job (default: made by Ray)")
    parser.add_argument("--follow", action="store_true", help="print its output until it ends; exit with its code")
    parser.add_argument("--status", metavar="ID", help="print a job's status and do nothing else")
    parser.add_argument("--logs", metavar="ID", help="print a job's output so far and do nothing else")
    parser.add_argument("--stop", metavar="ID", help="stop a job and do nothing else")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND ...")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0; with --follow the job's exit code, 130 if it was stopped; 2 for bad input."""
    args = build_parser().parse_args(argv)
    return run_command("cluster.submit", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    prepare()
    if args.status or args.logs or args.stop:
        return _ask(args)
    entrypoint = shlex.join(job_command(args))
    environment = runtime_env(args)
    check_upload(Path(args.working_dir), limit_mib=args.limit_mib)
    client = _client(args.address)
    job = _reached(
        args.address,
        lambda: client.submit_job(entrypoint=entrypoint, runtime_env=environment, submission_id=args.name),
    )
    sys.stderr.write(f"job {job}: {entrypoint}\n")
    if not args.follow:
        sys.stdout.write(f"{job}\n")
        return 0
    try:
        return follow(client, job)
    except KeyboardInterrupt:
        sys.stderr.write(f"job {job} still runs; stop it with: python -m cluster.submit --stop {job}\n")
        raise


def job_command(args: argparse.Namespace) -> list[str]:
    """Returns the command of the job.

    Raises:
        ConfigError: neither a command nor a configuration was given, or both, or a configuration without storage.
    """
    command = args.command[1:] if args.command[:1] == ["--"] else list(args.command)
    if bool(command) == bool(args.config):
        raise ConfigError("give either -- COMMAND, such as -- python -m cluster.train --config ..., or --config FILE")
    if bool(args.config) != bool(args.storage):
        raise ConfigError("--config FILE and --storage PATH go together: a job's own folder does not last")
    return command or ["python", "-m", "cluster.train", "--config", args.config, "--storage", args.storage]


def runtime_env(args: argparse.Namespace) -> dict[str, Any]:
    """Returns Ray's runtime environment: working directory, excludes and environment variables.

    Raises:
        ConfigError: a variable without `=`, or one that looks like a secret.
    """
    variables: dict[str, str] = {"PYTHONUNBUFFERED": "1"}
    for text in args.env:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--env {text!r} is not NAME=VALUE")
        if _SECRET.search(name):
            raise ConfigError(f"--env {name}: anyone who sees the dashboard could read it; use the cluster's secrets")
        variables[name] = value
    return {"working_dir": args.working_dir, "excludes": list(EXCLUDES), "env_vars": variables}


def follow(client: Any, job: str) -> int:
    """Shows a job's output until it ends, and returns its exit code.

    Connections through SSH or `kubectl port-forward` drop; the job goes on, so this connects again and shows the rest.

    Raises:
        ConfigError: the cluster does not know the job.
    """
    import aiohttp

    shown, pause, complete = _Shown(), _POLL_S, False
    while True:
        try:
            if not complete:
                asyncio.run(shown.show(client, job))
            ended = client.get_job_status(job).is_terminal()
            if ended and complete:
                return _exit_code(client.get_job_info(job))
            complete, pause = ended, _POLL_S  # what came after the last look is still to be shown
        except BrokenPipeError:  # nobody reads the output any more
            raise
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            if "does not exist" in str(error) or "status code 404" in str(error):
                raise ConfigError(f"job {job} cannot be followed: {_first_line(error)}") from None
            sys.stderr.write(f"no connection to the job ({_first_line(error)}); it goes on; trying again\n")
            complete, pause = False, min(2 * pause, _LONGEST_PAUSE_S)
        time.sleep(pause)


class _Shown:
    """How much of a job's output was shown; the server sends it from its start each time."""

    def __init__(self) -> None:
        self._count = 0

    async def show(self, client: Any, job: str) -> None:
        """Shows what is new until the server closes the connection."""
        received = 0
        async for lines in client.tail_job_logs(job):
            new = lines[max(0, self._count - received) :]
            received += len(lines)
            self._count = max(self._count, received)
            sys.stdout.write(new)
            sys.stdout.flush()


def _exit_code(info: Any) -> int:
    if info.status == "SUCCEEDED":
        return 0
    if info.status == "STOPPED":
        return EXIT_STOPPED
    if info.driver_exit_code is None:
        sys.stderr.write(f"{info.message}\n")
    return info.driver_exit_code or EXIT_FAILED


def _ask(args: argparse.Namespace) -> int:
    client = _client(args.address)
    job = args.status or args.logs or args.stop
    if args.stop:
        _reached(args.address, lambda: client.stop_job(job))
        while not _reached(args.address, lambda: client.get_job_status(job)).is_terminal():
            time.sleep(_POLL_S)
    if args.logs:
        sys.stdout.write(_reached(args.address, lambda: client.get_job_logs(job)))
        return 0
    sys.stdout.write(f"{_reached(args.address, lambda: client.get_job_info(job)).status}\n")
    return 0


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    return _reached(address, lambda: JobSubmissionClient(address))


def _reached(address: str, ask: Any) -> Any:
    """Returns what the job server answers, its errors in one line."""
    import ray.exceptions

    try:
        return ask()
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise ConfigError(
            f"no job server at {address} ({_first_line(error)}); is the cluster's dashboard reachable from here?"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the job server at {address} refused: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


if __name__ == "__main__":
    sys.exit(main())
