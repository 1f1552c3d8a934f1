"""The command line: show modules, write a screenshot, or run a script as Slicer does."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from PySide6 import QtCore

from .host import Host, start
from .process import become_slicer

_SCRIPT = "--python-script"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("modules", nargs="*", type=Path, help="scripted modules; shows the first")
    parser.add_argument("--screenshot", type=Path, help="write a picture of the window and leave")
    parser.add_argument("--volume", type=Path, help="a volume to load and show")
    parser.add_argument("--size", default="1280x860", help="of the window (default %(default)s)")
    parser.add_argument("--no-main-window", action="store_true", help="as in Slicer")
    parser.add_argument("--testing", action="store_true", help="as in Slicer")
    parser.add_argument("--dialogs", action="store_true", help="let modal dialogs open offscreen")
    parser.add_argument("--home", type=Path, help="folder for settings and temporary files")
    parser.add_argument(_SCRIPT, metavar="FILE ARGUMENTS", help="run a script; must come last")
    return parser


def main(arguments: list[str]) -> int:
    """Run the host; return the exit code."""
    script_at = arguments.index(_SCRIPT) if _SCRIPT in arguments else len(arguments)
    options = _parser().parse_args(arguments[: script_at + 2])
    if options.python_script:
        rest = arguments[script_at + 2 :]
        become_slicer([options.python_script, *rest[rest[:1] == ["--"] :]])
    with tempfile.TemporaryDirectory(prefix="misfm-host-") as folder:
        return _run(options, options.home or Path(folder))


def _run(options: argparse.Namespace, home: Path) -> int:
    host = start(home, main_window=not options.no_main_window, testing=options.testing)
    offscreen = os.environ.get("QT_QPA_PLATFORM") == "offscreen"
    host.dialogs.interactive = options.dialogs or not (offscreen or options.screenshot)
    for module in options.modules:
        host.load_module(module)
    QtCore.QTimer.singleShot(0, lambda: _try_to_work(host, options))
    host.app.exec()
    return host.app._requested_exit_code() or 0


def _try_to_work(host: Host, options: argparse.Namespace) -> None:
    try:
        _work(host, options)
    except Exception:
        traceback.print_exc()
        host.app.exit(1)


def _work(host: Host, options: argparse.Namespace) -> None:
    if not options.no_main_window:
        host.window.resize(*map(int, options.size.split("x")))
    if options.volume:
        import slicer

        slicer.util.loadVolume(str(options.volume))
    if options.modules and not options.no_main_window:
        host.select_module(options.modules[0].stem)
    if options.screenshot:
        host.screenshot(options.screenshot)
        host.app.exit(1 if host.failures.reports else 0)
    elif options.python_script:
        _run_script(host, options.python_script, options.testing)


def _run_script(host: Host, path: str, testing: bool) -> None:
    """Run a script as Slicer does: only with `--testing` does its end end the application."""
    main_module: Any = sys.modules["__main__"]
    main_module.__file__ = path
    code = 0
    try:
        exec(compile(Path(path).read_text(encoding="utf-8"), path, "exec"), vars(main_module))
    except SystemExit as request:
        host.app.exit(request.code if isinstance(request.code, int) else int(bool(request.code)))
    except Exception:
        traceback.print_exc()
        code = 1
    if testing and host.app._requested_exit_code() is None:
        host.app.exit(code)
