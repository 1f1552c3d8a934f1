"""Downloads that go on where they stopped and count only when their SHA-256 is right.

Proxies are taken from the environment (HTTPS_PROXY, NO_PROXY). What has arrived stays in a .part
file beside the target: after a cut or a cancel the next attempt asks the server for the rest only.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from MISFMLib.errors import BundleError, OutputError
from MISFMLib.events import EventSink, Progress
from MISFMLib.models.bundle_files import file_sha256

_log = logging.getLogger(__name__)

ATTEMPTS = 5
_TIMEOUT_S = 30
_BLOCK = 1 << 18
_REPORT_EVERY_S = 0.5
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Source:
    """A file to download."""

    url: str
    """http or https address."""
    sha256: str | None
    """Expected SHA-256 of the file, hexadecimal; None where the publisher names none."""


def download(
    source: Source,
    target: Path,
    events: EventSink,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file, going on with what an earlier attempt left, and check it.

    Args:
        source: Address and checksum.
        target: File to write; it appears only when it is complete and right.
        events: Takes progress events of the stage ``download``.
        pause: Waits the given number of seconds between two attempts.

    Raises:
        BundleError: The server is not reached, does not have the file, or sends another one.
        OutputError: The file does not fit on the disk or cannot be written.
    """
    part = target.with_name(target.name + ".part")
    with _as_output_error(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.exists()
        _receive(source.url, part, events, pause)
        if source.sha256 is None:
            part.replace(target)
            return
        if resumed and file_sha256(part) != source.sha256:
            _log.warning("%s: the kept part does not fit, downloading all of it again", source.url)
            part.unlink()
            _receive(source.url, part, events, pause)
        found = file_sha256(part)
        if found != source.sha256:
            part.unlink()
            raise BundleError(
                f"{source.url} has SHA-256 {found}, expected was {source.sha256}.",
                code="download-checksum",
                remedy="Try again later; if it stays so, report it, the file has been changed.",
            )
        part.replace(target)


def _receive(url: str, part: Path, events: EventSink, pause: Callable[[float], None]) -> None:
    """Try until the whole file is there; only cuts and passing server errors are tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if _receive_rest(url, part, events):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _PASSING_STATUS:
                raise _refused(url, error) from error
            reason = f"HTTP {error.code} {error.reason}"
        except (ConnectionError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        _log.info("%s: attempt %d of %d: %s", url, attempt, ATTEMPTS, reason)
        if attempt < ATTEMPTS:
            pause(2.0 ** (attempt - 1))
    raise BundleError(
        f"{url} could not be downloaded: {reason}.",
        code="download-unreachable",
        remedy="Check the network and HTTPS_PROXY, or download the file on another machine and "
        "install it with `misfm models import FILE`.",
    )


def _receive_rest(url: str, part: Path, events: EventSink) -> bool:
    """Append what is missing to `part`; return whether the file is complete now."""
    have = part.stat().st_size if part.exists() else 0
    # "identity": a proxy that compresses would make sizes and ranges meaningless.
    headers = {"Accept-Encoding": "identity", "User-Agent": "misfm"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = _open(urllib.request.Request(url, headers=headers))
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        return True  # nothing is left to send; the checksum tells whether that is right
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            have = 0  # this server sends the whole file each time
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _check_space(part, (total or 0) - have)
        with part.open("ab" if have else "wb") as file:
            progress = _ProgressReport(have, total, events)
            for block in _blocks(response):
                file.write(block)
                progress.add(len(block))
    return total is None or part.stat().st_size >= total


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Send a request; every trouble of the network becomes a ConnectionError."""
    try:
        # A new opener each time: `urlopen` keeps the proxies that it saw at its first call.
        opener = urllib.request.build_opener()
        response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError:
        raise
    except OSError as error:
        raise ConnectionError(str(getattr(error, "reason", error))) from error
    return response


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield what arrives; every trouble of the network becomes a ConnectionError."""
    try:
        while block := response.read(_BLOCK):
            yield block
    except OSError as error:
        raise ConnectionError(str(error)) from error


class _ProgressReport:
    """Turns received bytes into progress events, at most two a second and one at the end."""

    def __init__(self, have: int, total: int | None, events: EventSink) -> None:
        self._received = 0
        self._have = have
        self._total = total
        self._events = events
        self._start = self._last = time.monotonic()

    def add(self, size: int) -> None:
        """Count a block."""
        self._received += size
        now, done = time.monotonic(), self._have + self._received
        if not self._total or (now - self._last < _REPORT_EVERY_S and done < self._total):
            return
        self._last = now
        eta_s = (now - self._start) * (self._total - done) / self._received
        message = f"{done / 1e6:.1f} of {self._total / 1e6:.1f} MB"
        self._events(Progress("download", done / self._total, message, eta_s))


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise OutputError(
            f"{needed / 1e6:.0f} MB are needed in {part.parent}, {free / 1e6:.0f} MB are free.",
            code="disk-full",
            remedy="Free some space, or set MISFM_HOME to a folder on another disk.",
        )


def _refused(url: str, error: urllib.error.HTTPError) -> BundleError:
    return BundleError(
        f"{url} cannot be had: HTTP {error.code} {error.reason}.",
        code="download-refused",
        remedy="Update MISFM, its catalogue may be out of date, or import the model from a file.",
    )


@contextlib.contextmanager
def _as_output_error(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{part} cannot be written: {error.strerror or error}.",
            code="output-not-writable",
            remedy="Free some space, or set MISFM_HOME to a folder where you may write.",
        ) from error
