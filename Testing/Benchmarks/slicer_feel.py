"""How MISFM feels in a real Slicer: start-up, panel, clicks, blocks of the event loop, memory.

    MISFM_PYTHON=venv/bin/python venv/bin/python Testing/Benchmarks/slicer_feel.py --slicer PATH
        [--starts 5] [--segmentations 50] [--reloads 20] [--json FILE]

Slicer is started with and without the module, in turn. Then one Slicer runs this file itself: it
opens the panel, clicks Segment twice with the mouse on a drawn hippocampus crop, segments on and
reloads. A block is the longest time in which a timer of 1 ms was not called: Slicer answers nobody
for so long. Of the same stretch the processor time of Slicer's main thread is told, which other
programs on the machine change little. Memory is what the system says that Slicer has (RSS).

Slicer gives way to all other programs on Linux; here SLICER_BACKGROUND_THREAD_PRIORITY=0 ends that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PLAN = "MISFM_FEEL"
_QUIT = "import slicer; slicer.util.exit(0)"
_SAMPLE = (
    "import sys; from pathlib import Path; from MISFMLib.data.phantom import draw_phantom; "
    "from MISFMLib.volumes.volume import write_volume; "
    "write_volume(draw_phantom(1)[0], Path(sys.argv[1]))"
)
_PRIORITY = {"SLICER_BACKGROUND_THREAD_PRIORITY": "0"}
_SETTLED = 5
"""Segmentations after which memory is expected to stay."""


# ------------------------------------------------------------------------------- outside of Slicer


def start_up(slicer: str, module: Path | None) -> float:
    """Return the seconds from the start of Slicer to its end, when it ends as soon as it is up."""
    paths = ["--additional-module-paths", str(module)] if module else []
    began = time.perf_counter()
    words = [slicer, "--no-splash", *paths, "--python-code", _QUIT]
    environment = {**os.environ, **_PRIORITY}
    subprocess.run(words, check=True, capture_output=True, timeout=300, env=environment)
    return time.perf_counter() - began


def measure_inside(options: argparse.Namespace, repository: Path, folder: Path) -> dict[str, Any]:
    """Let Slicer run this file; return what it found."""
    sample, result = folder / "sample.nii.gz", folder / "result.json"
    environment = {**os.environ, **_PRIORITY, "PYTHONPATH": str(repository)}
    environment["MISFM_HOME"] = str(folder / "home")
    draw = [os.environ["MISFM_PYTHON"], "-c", _SAMPLE, str(sample)]
    subprocess.run(draw, check=True, env=environment)
    plan = {
        "repository": str(repository),
        "sample": str(sample),
        "result": str(result),
        "segmentations": options.segmentations,
        "reloads": options.reloads,
    }
    words = [options.slicer, "--no-splash", "--additional-module-paths", str(repository / "MISFM")]
    words += ["--python-script", str(Path(__file__).resolve())]
    environment = {**environment, _PLAN: json.dumps(plan)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=1800)
    if not result.exists():
        sys.exit(done.stdout + done.stderr)
    return json.loads(result.read_text("utf-8"))


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slicer", default=os.environ.get("MISFM_SLICER"), help="its launcher")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--segmentations", type=int, default=50)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    repository = Path(__file__).resolve().parents[2]
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(options.starts):
        seconds["without"].append(start_up(options.slicer, None))
        seconds["with"].append(start_up(options.slicer, repository / "MISFM"))
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_inside(options, repository, Path(folder))
    rows |= {f"start_{name}_s": statistics.median(values) for name, values in seconds.items()}
    print(f"load {os.getloadavg()}")
    for name, value in rows.items():
        print(f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2), "utf-8")


# ----------------------------------------------------------------------------------- inside Slicer


class Blocks:
    """The longest time in which the event loop did not come by, for each named stretch."""

    def __init__(self) -> None:
        import qt

        self.longest_ms: dict[str, float] = {}
        self.processor_ms: dict[str, float] = {}
        self._name = ""
        self._last, self._worked = time.perf_counter(), time.thread_time()
        self._timer = qt.QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(1)

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Count what happens meanwhile under a name."""
        self._name = name
        self._last, self._worked = time.perf_counter(), time.thread_time()
        yield
        self._tick()
        self._name = ""

    def _tick(self) -> None:
        now, worked = time.perf_counter(), time.thread_time()
        for longest, gap in (
            (self.longest_ms, now - self._last),
            (self.processor_ms, worked - self._worked),
        ):
            if self._name:
                longest[self._name] = max(1000 * gap, longest.get(self._name, 0.0))
        self._last, self._worked = now, worked


def resident_mb() -> float:
    """Return the memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Session:
    """One Slicer with the panel."""

    def __init__(self, plan: dict[str, Any]) -> None:
        from real_slicer.host import SlicerHost

        self.plan = plan
        self.host = SlicerHost()
        self.blocks = Blocks()
        self.rows: dict[str, Any] = {}

    @property
    def widget(self) -> Any:
        import slicer

        return slicer.modules.MISFMWidget

    def work_until(self, condition: Callable[[], bool]) -> None:
        """Turn the event loop, as the main loop does: event by event."""
        import slicer

        end = time.perf_counter() + 300
        while not condition():
            if time.perf_counter() > end:
                raise TimeoutError(self.widget.ui.statusLabel.text)
            slicer.app.processEvents()
            time.sleep(0.0005)

    def click(self) -> float:
        """Click Segment with the mouse; return the seconds until the result is shown."""
        self.work_until(lambda: self.widget.ui.segmentButton.enabled)
        began = time.perf_counter()
        self.host.click(self.widget.ui.segmentButton)
        self.work_until(lambda: not self.widget.logic.jobs)
        seconds = time.perf_counter() - began
        if self.widget.ui.failureFrame.visible:
            raise RuntimeError(self.widget.ui.failureLabel.text)
        return seconds

    def run(self) -> None:
        """Do all that a user does, and measure."""
        import slicer

        volume = slicer.util.loadVolume(self.plan["sample"])
        self.host.process_events(1.0)
        began = time.perf_counter()
        with self.blocks.during("panel opens"):
            slicer.util.selectModule("MISFM")
            slicer.app.processEvents()
            self.rows["panel_s"] = time.perf_counter() - began
        with self.blocks.during("panel at rest"):
            self.host.process_events(3.0)
        for name in ("first", "second"):
            with self.blocks.during(f"{name} click"):
                self.rows[f"{name}_click_s"] = self.click()
            report = self.widget.segmentTab._result.job.result.report
            self.rows[f"{name}_click_network_s"] = report["timings_s"]["network"]
            self.host.process_events(1.0)
        self.rows["memory"] = self.segment_on(volume)
        self.rows["reload"] = self.reload()
        self.rows["longest_block_ms"] = self.blocks.longest_ms
        self.rows["longest_block_processor_ms"] = self.blocks.processor_ms

    def segment_on(self, volume: Any) -> dict[str, float]:
        """Segment many times, each time without the result before; return the memory."""
        import slicer

        memory = {}
        for number in range(1, self.plan["segmentations"] + 1):
            self.click()
            for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
                slicer.mrmlScene.RemoveNode(node)
            for node in slicer.util.getNodesByClass("vtkMRMLTableNode"):
                slicer.mrmlScene.RemoveNode(node)
            self.host.process_events(0.2)
            if number in (1, _SETTLED, self.plan["segmentations"]):
                memory[f"after_{number}_mb"] = resident_mb()
        assert volume.GetScene() is not None
        return memory

    def reload(self) -> dict[str, float]:
        """Reload the module many times; return the memory."""
        import slicer

        memory = {}
        for number in range(1, self.plan["reloads"] + 1):
            slicer.util.reloadScriptedModule("MISFM")
            self.host.process_events(0.5)
            if number in (1, _SETTLED, self.plan["reloads"]):
                memory[f"after_{number}_mb"] = resident_mb()
        return memory


def inside(plan: dict[str, Any]) -> None:
    """Measure and leave Slicer."""
    import traceback

    import slicer

    sys.path.insert(0, str(Path(plan["repository"]) / "Testing" / "Host"))
    try:
        session = Session(plan)
        session.run()
        Path(plan["result"]).write_text(json.dumps(session.rows), "utf-8")
    except BaseException:
        traceback.print_exc()
    slicer.util.exit(0)


if _PLAN in os.environ:
    import qt

    _plan = json.loads(os.environ.pop(_PLAN))
    qt.QTimer.singleShot(0, lambda: inside(_plan))
elif __name__ == "__main__":
    main()
