"""Run pytest inside Slicer, as `--python-script`; `run.sh slicer` starts it.

The words for pytest come as JSON in MISFM_PYTEST_ARGUMENTS, the folder with pytest's packages in
MISFM_PYTEST_PACKAGES. Slicer's main loop turns between two tests, as it does between two clicks:
objects are deleted, timers run, queued slots are called.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator

import qt
import slicer

_EXIT_OF_A_CRASH = 70


def session_steps(arguments: list[str]) -> Iterator[int]:
    """Do what `pytest.main` does, one test at a time; the last value is the exit code.

    pytest has no public way to return between tests; this is `_pytest.main.wrap_session`.
    """
    import pytest
    from _pytest.config import _prepareconfig
    from _pytest.main import ExitCode, Failed, Interrupted, Session

    config = _prepareconfig(arguments)
    session = Session.from_config(config)
    session.exitstatus = ExitCode.OK
    has_started = False
    try:
        config._do_configure()
        config.hook.pytest_sessionstart(session=session)
        has_started = True
        config.hook.pytest_collection(session=session)
        if session.testsfailed and not config.option.continue_on_collection_errors:
            raise Interrupted(f"{session.testsfailed} errors during collection")
        items = [] if config.option.collectonly else session.items
        for item, following in zip(items, [*items[1:], None], strict=True):
            yield 0
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise Failed(session.shouldfail)
            if session.shouldstop:
                raise Interrupted(session.shouldstop)
        if session.testsfailed:
            session.exitstatus = ExitCode.TESTS_FAILED
        elif not session.testscollected:
            session.exitstatus = ExitCode.NO_TESTS_COLLECTED
    except (Failed, pytest.UsageError):
        session.exitstatus = ExitCode.TESTS_FAILED
    except (Interrupted, KeyboardInterrupt):
        session.exitstatus = ExitCode.INTERRUPTED
    finally:
        if has_started:
            config.hook.pytest_sessionfinish(session=session, exitstatus=session.exitstatus)
        config._ensure_unconfigure()
    yield int(session.exitstatus)


class Driver:
    """Takes one step whenever the main loop comes by."""

    def __init__(self, arguments: list[str]) -> None:
        self._steps = session_steps(arguments)
        self._code = _EXIT_OF_A_CRASH

    def step(self) -> None:
        """Run the next test; after the last one leave Slicer with pytest's exit code."""
        try:
            self._code = next(self._steps)
        except StopIteration:
            self.leave()
        except BaseException:
            traceback.print_exc()
            self._code = _EXIT_OF_A_CRASH
            self.leave()
        else:
            qt.QTimer.singleShot(0, self.step)

    def leave(self) -> None:
        """End Slicer."""
        sys.stdout.flush()
        sys.stderr.flush()
        slicer.util.exit(self._code)


def main() -> None:
    """Give Python the streams that pytest expects, and start."""
    # Slicer's have no file number; line by line, because a crash loses what is buffered.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.path.insert(0, os.environ["MISFM_PYTEST_PACKAGES"])
    driver = Driver(json.loads(os.environ["MISFM_PYTEST_ARGUMENTS"]))
    qt.QTimer.singleShot(0, driver.step)


main()
