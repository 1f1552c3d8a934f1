"""Inside Slicer: a model of the catalogue is downloaded in the panel, killed, stopped and resumed.

`download_table.py` starts it with a server and a catalogue of its own.
"""

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import slicer

TITLE, NAME, PICTURES = sys.argv[1], sys.argv[2], Path(sys.argv[3])


def settle(seconds=0.3):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slicer.app.processEvents()
        time.sleep(0.01)


def wait(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            ui = slicer.modules.MISFMWidget.ui
            raise TimeoutError(f"{what}: {ui.modelStatusLabel.text} {ui.failureLabel.text}")
        settle(0.05)


def tell(what, **more):
    print("STEP", what, *(f"{name}={value}" for name, value in more.items()), flush=True)


def picture(name):
    settle()
    slicer.util.mainWindow().grab().save(str(PICTURES / f"download-{name}.png"))


def child():
    """The process number of the download."""
    found = subprocess.run(
        ["pgrep", "-f", f"MISFMLib models fetch {NAME}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(number) for number in found.stdout.split()]


def main():
    slicer.util.mainWindow().resize(1200, 900)
    slicer.util.selectModule("MISFM")
    ui = slicer.modules.MISFMWidget.ui
    ui.modelsSection.collapsed = False
    settle()
    ui.modelSearch.text = TITLE
    settle()
    titles = [ui.modelList.item(row).text().splitlines()[0] for row in range(ui.modelList.count)]
    assert titles == [TITLE], titles
    ui.modelList.setCurrentRow(0)
    settle()
    assert ui.downloadModelButton.visible
    assert ui.downloadModelButton.text == "Download"
    picture("offered")
    tell("offered")

    ui.downloadModelButton.click()
    wait(lambda: ui.modelProgress.value >= 20, "no progress")
    picture("under-way")
    tell("under way", percent=ui.modelProgress.value, text=ui.modelStatusLabel.text)
    for number in child():
        os.kill(number, signal.SIGKILL)
    wait(lambda: ui.failureFrame.visible, "the killed download was not told")
    tell("killed", says=ui.failureLabel.text)
    assert not ui.modelProgress.visible
    picture("killed")

    ui.downloadModelButton.click()
    wait(lambda: ui.modelProgress.value >= 40, "no progress after the kill")
    assert not ui.failureFrame.visible, "the box of the failure stays"
    ui.downloadModelButton.click()
    wait(lambda: not child(), "the stopped download goes on")
    tell("stopped", says=ui.modelStatusLabel.text)

    ui.downloadModelButton.click()
    wait(lambda: ui.downloadModelButton.text != "Stop", "it does not end")
    settle()
    assert not ui.failureFrame.visible, ui.failureLabel.text
    ui.modelSearch.text = ""
    settle()
    assert ui.modelSelector.findData(NAME) >= 0, "the model cannot be chosen"
    picture("installed")
    tell("installed", chosen=ui.modelSelector.currentData)


code = 1
try:
    main()
    code = 0
except BaseException:
    traceback.print_exc()
slicer.util.exit(code)
