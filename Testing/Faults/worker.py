"""Runs commands of ``misfm`` in one process; one JSON line in, one out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback

from MISFMLib import cli


def main() -> None:
    """Carry out what is asked for until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(request["folder"])
        words = [word.encode("ascii").decode("unicode_escape") for word in request["words"]]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main(words)
            except SystemExit as stop:
                code = stop.code
            except BaseException:  # whatever came through is what we look for
                traceback.print_exc(file=err)
                code = 1
        text = (out.getvalue() + err.getvalue()).encode("ascii", "backslashreplace").decode()
        answers.write(json.dumps([code or 0, text]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
