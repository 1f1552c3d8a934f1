"""What is told about the jobs of the logic."""

from __future__ import annotations

from ..Signal import Signal


class JobSignals:
    """Signals (`Signal.connect`), each called in the main thread.

    - ``started(job)``: it left the queue.
    - ``progressed(job)``: ``job.progress`` or ``job.notices`` changed.
    - ``finished(job)``: ``job.result`` is in the scene.
    - ``failed(job)``: ``job.failure`` says why and what to do; the scene is as it was.
    - ``cancelled(job)``: the scene is as it was.
    - ``queueChanged()``: the jobs changed.
    - ``restored(segmentation)``: it is again what it was before its last update.
    - ``measured(measured)``: what a window of a model costs.
    """

    def __init__(self) -> None:
        """Let nobody listen."""
        self.started = Signal()
        self.progressed = Signal()
        self.finished = Signal()
        self.failed = Signal()
        self.cancelled = Signal()
        self.queueChanged = Signal()
        self.measured = Signal()
        self.restored = Signal()
