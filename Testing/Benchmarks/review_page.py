"""The page of `misfm review` in a real browser: first paint, scrolling, keyboard, screenshots.

Makes pages of 10 and 10,000 drawn cases, opens each from the disk in headless Chromium at three
widths, light and dark, and judges, notes, searches and saves with the keyboard alone. Needs
Chromium and tornado (a dependency of distributed). Ends with 1 if something was too slow or wrong.

    python Testing/Benchmarks/review_page.py FOLDER [--chromium chromium] [--cases 10 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tornado.websocket import websocket_connect

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

WIDTHS = (1400, 900, 420)
FIRST_PAINT_MS, FRAME_MS = 1000, 60
SCROLL = """new Promise(done => {
  const list = document.getElementById("list"), frames = [];
  let before = performance.now(), left = 120;
  const step = () => {
    const now = performance.now();
    frames.push(now - before);
    before = now;
    if (!left--) return done(frames.slice(1));
    list.scrollTop += 900;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
PAINT = '(performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0)'
SUMMARY = 'document.getElementById("summary").textContent'
CHOSEN = 'document.querySelector(".case.chosen .name").firstChild.textContent.trim()'


def make_page(folder: Path, count: int) -> Path:
    """Write a page of so many cases with pictures of their own."""
    import numpy as np

    from MISFMLib.data.phantom import draw_phantom
    from MISFMLib.jobs.review.measures import measure
    from MISFMLib.jobs.review.outliers import find_outliers
    from MISFMLib.jobs.review.page import ReviewedCase, write_page
    from MISFMLib.jobs.review.pictures import write_thumbnail

    page = folder / f"page-{count}"
    drawn = []
    for seed in range(10):
        volume, label_map = draw_phantom(seed)
        values = {int(value): f"structure {value}" for value in np.unique(label_map.array_DHW)[1:]}
        drawn.append((seed, values, volume, label_map, measure(label_map, values, volume)))
    cases = []
    for number in range(count):
        seed, values, volume, label_map, measures = drawn[number % len(drawn)]
        name = f"case {number:05}"
        path = page / "thumbnails" / f"{name}.jpg"
        if path.exists():
            pass
        elif number < len(drawn):
            write_thumbnail(volume, label_map, dict.fromkeys(values, (255, 200, 0)), path)
        else:
            shutil.copyfile(page / "thumbnails" / f"case {seed:05}.jpg", path)
        sure = random.Random(number).random()
        cases.append(
            ReviewedCase(name, f"/r/{name}.nrrd", f"/s/{name}.nii", measures, "", (), sure)
        )
    write_page(cases, find_outliers({case.name: case.measures for case in cases}), {}, page)
    return page / "index.html"


class Browser:
    """A page in headless Chromium, driven over its debugging protocol."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def ask(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.write_message(json.dumps(message))
        while True:
            answer = json.loads(await asyncio.wait_for(self._socket.read_message(), 60))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    async def value(self, expression: str) -> Any:
        """Return what JavaScript gives."""
        found = await self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return found["result"].get("value")

    async def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            text = {"text": "\r" if key == "Enter" else key} if key != "Escape" else {}
            await self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            await self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def open(self, page: Path, width: int, scheme: str) -> None:
        """Open a page in a window of this width and wait for its list."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.ask("Emulation.setEmulatedMedia", features=[feature])
        await self.ask("Page.navigate", url="about:blank")
        await self.ask("Page.navigate", url=page.as_uri())
        for _ in range(200):
            await asyncio.sleep(0.05)
            if await self.value(f'document.querySelector(".case") !== null && {PAINT} > 0'):
                return
        raise TimeoutError(f"{page} shows no case")

    async def picture(self, path: Path) -> None:
        """Save what is seen."""
        await asyncio.sleep(0.3)
        shot = await self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def browser(command: str, folder: Path) -> AsyncIterator[Browser]:
    """Start Chromium with a fresh profile, and end it."""
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    words = [command, "--headless=new", "--no-sandbox", "--remote-debugging-port=0"]
    words += [f"--user-data-dir={profile}", "--disable-gpu", "--no-first-run", "about:blank"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, start_new_session=True, **quiet)
    try:
        port = profile / "DevToolsActivePort"
        until = time.monotonic() + 60
        while not port.exists() and time.monotonic() < until:
            await asyncio.sleep(0.1)
        number = port.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{number}/json") as answer:
            targets = json.load(answer)
        page = next(target for target in targets if target["type"] == "page")
        socket = await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=2**28)
        it = Browser(socket)
        await it.ask("Page.enable")
        yield it
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


async def judge_by_keyboard(it: Browser, folder: Path) -> list[str]:
    """Judge three cases, search, save; return what went wrong."""
    problems = []
    downloads = folder / "downloads"
    shutil.rmtree(downloads, ignore_errors=True)
    await it.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
    names = []
    for key in "123":
        names.append(await it.value(CHOSEN))
        await it.press(key)
    await it.press("n")
    await it.ask("Input.insertText", text='half, "left"')
    await it.press("Enter")
    noted = await it.value(CHOSEN)
    await it.press("/")
    await it.ask("Input.insertText", text=names[1])
    await it.press("Escape")
    await asyncio.sleep(0.3)
    if not (await it.value(SUMMARY)).startswith("1 of "):
        problems.append(f"the search shows {await it.value(SUMMARY)}")
    await it.press("s")
    file = downloads / "verdicts.csv"
    for _ in range(50):
        await asyncio.sleep(0.1)
        if file.exists():
            break
    from MISFMLib.jobs.review.verdicts import Verdict, read_verdicts

    found = read_verdicts(file) if file.exists() else {}
    expected = {
        **dict(zip(names, map(Verdict, ("good", "wrong", "unsure")), strict=True)),
        noted: Verdict("", 'half, "left"'),
    }
    return problems if found == expected else [*problems, f"saved were {found}, not {expected}"]


async def try_page(it: Browser, folder: Path, count: int) -> list[str]:
    """Measure a page, and look at it in all widths; return what went wrong."""
    page = make_page(folder, count)
    problems = []
    for width, scheme in itertools.product(WIDTHS, ("light", "dark")):
        await it.open(page, width, scheme)
        paint, frames = await it.value(PAINT), sorted(await it.value(SCROLL))
        typical, worst = frames[len(frames) // 2], frames[-1]
        print(
            f"| {count} | {width} {scheme} | {paint:.0f} | {typical:.0f} | {worst:.0f} |",
            flush=True,
        )
        if paint > FIRST_PAINT_MS or frames[int(0.95 * len(frames))] > FRAME_MS:
            problems.append(f"{count} cases at {width} are too slow")
        await it.value('document.getElementById("list").scrollTop = 0')
        await it.picture(folder / f"page-{count}-{width}-{scheme}.png")
        if await it.value("document.documentElement.scrollWidth > innerWidth"):
            problems.append(f"{count} cases at {width}: the page is wider than its window")
    await it.open(page, WIDTHS[0], "light")
    if "structure 1" not in await it.value('document.querySelector(".volumes").textContent'):
        problems.append("the volumes are not told")
    return [*problems, *await judge_by_keyboard(it, folder)]


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--cases", type=int, nargs="+", default=[10, 10_000])
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    print("| Cases | Window | First paint, ms | Scroll frame, ms: typical | worst of 120 |")
    print("| --- | --- | --- | --- | --- |")
    problems = []
    async with browser(arguments.chromium, folder) as it:
        for count in arguments.cases:
            problems += await try_page(it, folder, count)
    print("\n".join(problems) or "everything as it should be", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
