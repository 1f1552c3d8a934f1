"""The fault catalogue: every case tried, judged, and counted in a table."""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from cases import Case  # noqa: E402 found only now

_TIMEOUT_S = 120
_VERDICTS = ("clear", "right", "unclear", "wrong", "traceback", "hang")
_HERE = Path(__file__).parent
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_HERE.parents[1]), "OMP_NUM_THREADS": "1"}


class Worker:
    """A process that runs commands one after the other; a new one after a hang."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, words: list[str], folder: Path) -> tuple[int, str] | None:
        """Return exit code and all that was printed; None for a hang or a death."""
        if self._process is None:
            command = [sys.executable, str(_HERE / "worker.py")]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
            )
        escaped = [word.encode("unicode_escape").decode("ascii") for word in words]
        request = json.dumps({"folder": str(folder), "words": escaped})
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(request.encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _TIMEOUT_S)[0]:
            return self.end()
        line = self._process.stdout.readline()
        if not line:
            return self.end()
        code, text = json.loads(line)
        return int(code), text

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def run_alone(case: Case, words: list[str], folder: Path) -> tuple[int, str] | None:
    """Run a command in a process of its own, through the shell."""
    command = [sys.executable, "-m", "MISFMLib", *words]
    script = f"{case.before or ':'}; exec {shlex.join(command)} {case.after}"
    try:
        result = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=_ENVIRONMENT,
            input=None if case.lines is None else case.lines.encode("utf-8", "surrogateescape"),
            stdin=subprocess.DEVNULL if case.lines is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "2>" not in case.after else subprocess.PIPE,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return result.returncode, (result.stdout + (result.stderr or b"")).decode("utf-8", "replace")


def judge(case: Case, outcome: tuple[int, str] | None, folder: Path) -> str:
    """Return the verdict on what a case ended in."""
    if outcome is None:
        return "hang"
    code, text = outcome
    if "Traceback (most recent call last)" in text or '"code": "internal"' in text:
        return "traceback"
    if code == 0:
        if case.expect == "clear" and case.lines is None:
            return "wrong"
        return "right" if case.check(folder) else "wrong"
    if code not in range(2, 10) or (case.expect == "right" and code != 8):
        return "wrong" if case.expect == "right" else "unclear"
    if case.expect == "right":
        return "right" if case.check(folder) else "wrong"
    is_told = case.after or len(text.strip()) > 20
    return "clear" if is_told else "unclear"


def run(cases: Iterable[Case]) -> Counter[tuple[str, str]]:
    """Try cases; print those that are not good."""
    counts: Counter[tuple[str, str]] = Counter()
    worker = Worker()
    for case in cases:
        folder = Path(tempfile.mkdtemp(prefix="misfm-fault-"))
        os.chdir(folder)
        words = case.make(folder)
        outcome = run_alone(case, words, folder) if case.is_alone else worker.run(words, folder)
        verdict = judge(case, outcome, folder)
        counts[case.group, verdict] += 1
        if verdict not in ("clear", "right"):
            tail = "died or hung" if outcome is None else f"exit {outcome[0]}: {outcome[1][-600:]}"
            print(f"{verdict}: {case.group}: {case.name}\n  {shlex.join(words)[:300]}\n  {tail}")
            sys.stdout.flush()
        os.chdir(folder.parent)
        shutil.rmtree(folder, ignore_errors=True)
    worker.end()
    return counts


def main() -> int:
    """Run the groups named on the command line, or all, and print the table."""
    import catalogue

    groups = sys.argv[1:] or list(catalogue.GROUPS)
    counts: Counter[tuple[str, str]] = Counter()
    for group in groups:
        counts += run(catalogue.GROUPS[group]())
    print(f"{'group':12} {'tried':>6} " + " ".join(f"{verdict:>9}" for verdict in _VERDICTS))
    for group in [*groups, "all"]:
        row = [
            sum(n for (g, v), n in counts.items() if v == verdict and group in (g, "all"))
            for verdict in _VERDICTS
        ]
        print(f"{group:12} {sum(row):6} " + " ".join(f"{number:9}" for number in row))
    return int(any(verdict not in ("clear", "right") for _, verdict in counts))


if __name__ == "__main__":
    sys.exit(main())
