import signal
import subprocess
import sys

import pytest

from ecul.console import EXIT_BAD_INPUT, EXIT_INTERRUPTED, Parser, run_command
from ecul.errors import ConfigError


def test_a_mistake_of_the_user_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]):
    def work() -> int:
        raise ConfigError("no such file")

    assert run_command("name", work) == EXIT_BAD_INPUT
    assert capsys.readouterr().err == "name: no such file\n"


def test_an_error_of_the_file_system_is_one_line_too(capsys: pytest.CaptureFixture[str]):
    def work() -> int:
        raise OSError(28, "No space left on device", "/full/file")

    assert run_command("name", work) == EXIT_BAD_INPUT
    assert capsys.readouterr().err == "name: /full/file: No space left on device\n"


def test_an_interrupt_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]):
    def work() -> int:
        raise KeyboardInterrupt

    assert run_command("name", work) == EXIT_INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("background", [False, True])  # a shell's background process ignores Ctrl-C, but not SIGTERM
def test_sigterm_is_an_interrupt(number: signal.Signals, background: bool):
    program = (
        "import sys, time; from ecul.console import run_command\n"
        "def work():\n    print('works', flush=True)\n    time.sleep(3)\n    return 7\n"
        "sys.exit(run_command('name', work))"
    )
    ignore = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if background else None
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=ignore
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "works\n"
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    ignored = background and number == signal.SIGINT
    assert process.returncode == (7 if ignored else EXIT_INTERRUPTED)
    assert printed == ("" if ignored else "name: interrupted\n")


def test_errors_of_the_program_are_not_hidden():
    def work() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command("name", work)


def test_sub_commands_have_one_line_errors_too(capsys: pytest.CaptureFixture[str]):
    parser = Parser(prog="name")
    parser.add_subparsers(required=True).add_parser("part").add_argument("--number", type=int)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["part", "--number", "x"])
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["part", "--set", "a.b", "0.1"], "unrecognized arguments: 0.1; --set takes PATH=VALUE, got 'a.b' without ="),
        (["part", "--set", "a.b=0.1", "c"], "unrecognized arguments: c (see name --help)"),
        (["part", "c"], "unrecognized arguments: c (see name --help)"),
    ],
)
def test_a_setting_without_its_sign_is_what_the_arguments_left_over_come_from(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    parser = Parser(prog="name")
    parser.add_subparsers(required=True).add_parser("part").add_argument("--set", action="append")
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(arguments)
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("lines", [3, 200_000])
def test_a_reader_that_has_seen_enough_is_no_error(lines: int):
    program = (
        "import sys; from ecul.console import run_command\n"
        f"sys.exit(run_command('name', lambda: sys.stdout.write('a line\\n' * {lines}) and 0))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["train", "--wrong"]])
def test_help_and_mistakes_wait_for_no_library(arguments: list[str]):
    program = (
        "import sys; from ecul.cli import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: pass\n"
        "slow = ('torch', 'numpy', 'pydantic', 'PIL', 'scipy', 'numba', 'yaml')\n"
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
