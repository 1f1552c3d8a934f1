"""A download in the panel of a real Slicer, from a server here: offered, killed, stopped, resumed.

    python Testing/RealSlicer/download_table.py --slicer KIT/run-slicer.sh [--pictures FOLDER]

A copy of the module gets a catalogue with one model, whose address is a slow server of this
program. The download is killed with SIGKILL at a fifth and stopped at two fifths; each attempt has
to ask for the rest only, and at the end the model can be chosen. The exit code is 1 when not.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TITLE, NAME = "A model from far away", "far-away"
_BLOCK, _PAUSE_S = 16384, 0.05


class _SlowServer(http.server.BaseHTTPRequestHandler):
    """Sends one file, from where it is asked to, in small blocks; notes where each began."""

    def __init__(self, content: bytes, starts: list[int], *arguments) -> None:
        self._content, self._starts = content, starts
        super().__init__(*arguments)

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].rstrip("-"))
        self._starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self._content) - start))
        self.end_headers()
        try:
            for position in range(start, len(self._content), _BLOCK):
                self.wfile.write(self._content[position : position + _BLOCK])
                time.sleep(_PAUSE_S)
        except OSError:  # it was killed or stopped
            pass

    def log_message(self, *_arguments) -> None:
        """Say nothing."""


def zipped_model(folder: Path) -> bytes:
    """Return the bundled model under another name as a zip."""
    bundle = folder / NAME
    shutil.copytree(ROOT / "Resources" / "Models" / "hippocampus-mr", bundle)
    metadata = bundle / "configs" / "metadata.json"
    content = json.loads(metadata.read_text("utf-8"))
    content["misfm"] |= {"name": NAME, "title": TITLE}
    metadata.write_text(json.dumps(content), "utf-8")
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w") as file:
        for each in sorted(bundle.rglob("*")):
            file.write(each, each.relative_to(folder))
    return path.read_bytes()


def copied_module(folder: Path, url: str, content: bytes) -> Path:
    """Copy the module with a catalogue of one model; return its folder."""
    for name in ("MISFM", "MISFMLib", "Resources"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    entry = {
        "name": NAME,
        "kind": "bundle",
        "title": TITLE,
        "description": "The bundled model, from a server.",
        "license": "as the bundled one",
        "url": url,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    catalogue = folder / "Resources" / "catalogue.json"
    bundled = [
        model for model in json.loads(catalogue.read_text("utf-8"))["models"] if "url" not in model
    ]
    catalogue.write_text(json.dumps({"format": 1, "models": [*bundled, entry]}), "utf-8")
    return folder / "MISFM"


def run_slicer(options, module: Path, home: Path, pictures: Path) -> int:
    walk = Path(__file__).with_name("download_walk.py")
    command = [options.slicer, "--no-splash", "--additional-module-paths", str(module)]
    command += ["--python-script", str(walk), "--", TITLE, NAME, str(pictures)]
    environment = {**os.environ, "MISFM_HOME": str(home), "MISFM_PYTHON": options.python}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    text = done.stdout.decode(errors="replace")
    shown = ("STEP", "Traceback", "  File", "AssertionError", "TimeoutError")
    print(*(line for line in text.splitlines() if line.startswith(shown)), sep="\n")
    return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slicer", required=True, help="program that starts Slicer")
    parser.add_argument("--python", default=sys.executable, help="Python that has the library")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the panel")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        content, starts = zipped_model(folder), []
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(_SlowServer, content, starts)
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{NAME}.zip"
        module = copied_module(folder / "copy", url, content)
        pictures = options.pictures or folder
        pictures.mkdir(parents=True, exist_ok=True)
        code = run_slicer(options, module, folder / "home", pictures)
        server.shutdown()
    print(f"{len(content)} bytes; the attempts began at {starts}")
    isResumed = len(starts) == 3 and 0 == starts[0] < starts[1] < starts[2]
    return 0 if code == 0 and isResumed else 1


if __name__ == "__main__":
    sys.exit(main())
