"""Whatever surrounds a command, it ends well."""

import io
import os
import signal
import subprocess
import sys
import threading

import pytest

from haarlequin.__main__ import COMMANDS
from haarlequin.models.common import cli
from haarlequin.models.common.cli import command, line_of, one_line_errors
from haarlequin.models.common.errors import UsageError


def run(code, *options, shell="{}", **variables):
    """A Python program, within a line of the shell."""
    words = [sys.executable, *options, "-c", code]
    quoted = " ".join(f"'{word}'" for word in words)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    line = shell.format(quoted)
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, encoding="utf-8", env=environment, check=False
    )


@pytest.mark.slow
def test_every_help_without_docstrings_in_a_locale_of_latin_1():
    code = f"""
from haarlequin.__main__ import main
for name in {list(COMMANDS)}:
    try: main([name, "--help"])
    except SystemExit as ended: assert ended.code == 0, name
"""
    shown = run(code.replace("'", '"'), "-OO", "-X", "utf8=0", PYTHONIOENCODING="iso-8859-1:strict")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.count("usage: ") == len(COMMANDS)
    assert "BOARD=…" in shown.stdout or "…" in shown.stdout


SAYING = """
import sys
import threading
from haarlequin.models.common.cli import command
@command
def main(argv=None):
    print("answer → ü")
    print("said", file=sys.stderr)
main()
"""


def test_streams_that_the_shell_has_closed():
    for shell, out, err in (
        ("{} 2>&-", "answer → ü\n", ""),
        ("{} >&-", "", "said\n"),
        ("{} <&- >&- 2>&-", "", ""),
    ):
        shown = run(SAYING, shell=shell, PYTHONIOENCODING="ascii")
        assert (shown.returncode, shown.stdout, shown.stderr) == (0, out, err)


def test_what_is_opened_next_does_not_become_a_closed_stream(tmp_path):
    code = SAYING.replace("    print(", f'    file = open("{tmp_path / "file"}", "w"); print(', 1)
    code = code.replace("main()\n", "main()\n").replace(
        "file=sys.stderr)", 'file=sys.stderr); import os; os.write(2, b"C")'
    )
    assert run(code, shell="{} 2>&-").stdout == "answer → ü\n"
    assert (tmp_path / "file").read_bytes() == b""


def test_a_reader_that_has_had_enough_and_a_full_disk():
    many = SAYING.replace('print("answer → ü")', "[print(i) for i in range(10**6)]")
    shown = run(many, shell="set -o pipefail; {} | head -1")
    assert (shown.returncode, shown.stdout, shown.stderr) == (1, "0\n", "")
    shown = run(SAYING, shell="{} >/dev/full")
    assert shown.returncode == 2
    assert shown.stderr.removeprefix("said\n") == "error: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_a_line(number):
    """After SIGTERM, too: a tool that a command has started would go on without it."""
    code = SAYING.replace('print("said", file=sys.stderr)', "import time; sys.stdout.flush(); time.sleep(60)")
    code = code.replace("@command", '@command(interrupted="all is kept")')
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate()
    assert (process.returncode, errors.decode()) == (130, "interrupted: all is kept\n")


def test_words_of_a_file_give_a_terminal_no_orders(capsys):
    with pytest.raises(SystemExit), one_line_errors(verbose=False):
        raise UsageError("class '\x1b[31m'")
    assert capsys.readouterr().err == "error: class '\\x1b[31m'\n"


def test_what_a_file_refuses_is_said_with_its_name():
    assert line_of(PermissionError(13, "Permission denied", "a/b")) == "a/b: Permission denied"
    assert line_of(OSError("odd")) == "odd"


def test_a_stream_that_is_no_file_is_left_alone(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    command(lambda argv: print("→"))([])
    assert stream.getvalue() == "→\n"
    assert cli.INTERRUPTED == 130


def test_a_command_in_a_thread_leaves_signals_alone():
    ran = []
    thread = threading.Thread(target=command(lambda argv: ran.append(argv)), args=([],))
    thread.start()
    thread.join()
    assert ran == [[]]
