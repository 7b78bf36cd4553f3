"""Commands: one line and status 2 for what a user can mend, a traceback for our own faults."""

from __future__ import annotations

import errno
import inspect
import subprocess
import sys

import pytest

from thumbwheel import errors
from thumbwheel.command import run
from thumbwheel.errors import ThumbwheelError


def raised(error: BaseException) -> None:
    def main() -> None:
        raise error

    run(main)


def test_what_a_user_can_mend_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        raised(errors.SourceError("the file\n  is missing;\tmend it."))

    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: the file is missing; mend it.\n"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "data/lake"),
        RuntimeError("Generic LocalFileSystem error: No space left on device (os error 28)"),
        ValueError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_one_line_whoever_met_it(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        raised(error)

    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the disk is full")
    assert "Free some space and run again" in said
    assert said.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        raised(KeyError("ours"))


def test_an_interrupted_command_ends_with_130() -> None:
    with pytest.raises(SystemExit) as stop:
        raised(KeyboardInterrupt())

    assert stop.value.code == 130


def test_a_command_that_ends_well_exits_0() -> None:
    code = "from thumbwheel.command import run; run(lambda: print('done'))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_leaving_waits_for_threads_and_runs_what_was_to_run_at_exit() -> None:
    code = (
        "import atexit, threading, time; from thumbwheel.command import run; "
        "atexit.register(print, 'last'); "
        "run(lambda: threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start())"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "thread\nlast\n")


def test_every_error_has_the_one_root_and_a_base_of_the_standard_library() -> None:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]

    for kind in set(found) - {ThumbwheelError}:
        assert issubclass(kind, ThumbwheelError)
        assert any(base.__module__ == "builtins" for base in kind.__bases__), kind
