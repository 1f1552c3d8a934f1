"""Segmenting in terms of the scene: from volume nodes to a segmentation node, job by job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from MISFMLib.events import Event, Failed, Finished, Measured, Notice, Progress
from MISFMLib.foreground import Claim, claims_folder
from MISFMLib.models import store

from ..Job import Job, JobState, SegmentRequest
from ..Scene import KeptResults
from ..Scene.Edits import Edits
from ..Scene.SceneIO import isInScene
from ..Scene.Snapshot import Snapshots
from .Failures import failureOf, volumeRemoved
from .JobRunner import JobRunner
from .JobSignals import JobSignals
from .Pieces import Pieces, Work
from .SegmentTask import SegmentTask, checkRequest

_POLL_MS = 100


class MISFMLogic(ScriptedLoadableModuleLogic, JobSignals):
    """Queue of jobs: exports the volumes, runs the library in a worker, loads the result.

    Nothing here opens a dialog, starts a thread or needs a main window::

        logic = MISFMLogic()
        job = logic.start(SegmentRequest((volumeNode,), "hippocampus-mr"))
        logic.waitFor(job)
        job.result.segmentation
    """

    def __init__(self, runner: JobRunner | None = None) -> None:
        """Start no process; `runner` can be a stand-in with the methods of `JobRunner`."""
        super().__init__()
        JobSignals.__init__(self)
        self.edits = Edits()
        """Its signal ``changed(segmentation)`` tells that somebody edits a result."""
        self._runner = runner or JobRunner()
        self._jobs: list[Job] = []
        self._task: SegmentTask | None = None
        self._pieces = Pieces()
        """What is being written or loaded: at once it would hold up Slicer."""
        self._startedAt = 0.0
        self._claim = Claim(claims_folder(store.home()))
        self._timer: Any = None
        self._snapshots = Snapshots()
        self._sceneTag = slicer.mrmlScene.AddObserver(
            slicer.vtkMRMLScene.StartCloseEvent, self._onSceneStartClose
        )

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs that have not ended: the running one first, then those that wait."""
        return tuple(self._jobs)

    @property
    def isWorkerWarm(self) -> bool:
        """Whether the worker has run a job, and perhaps holds its model in memory."""
        return self._runner.hasRun

    @property
    def isWorkerLoaded(self) -> bool:
        """Whether the worker is known to hold a model, so that a job need not wait for it."""
        return self._runner.hasLoaded

    def warmUp(self, request: SegmentRequest, *, measures: bool = False) -> None:
        """Let the worker load its libraries and the model, so that a job to come need not wait.

        Args:
            request: The job that may come.
            measures: Also let it measure a window; `measured` tells what came out.
        """
        self._runner.prepare({**request.options, "model": request.model}, measures=measures)
        if measures and not self._jobs:
            self._watch()

    def start(self, request: SegmentRequest) -> Job:
        """Queue a job; it starts at once when no other is running.

        Raises:
            MISFMError: The request cannot work; nothing was queued.
        """
        checkRequest(request)
        job = Job(request, f"{request.volumes[0].GetName()}: {Path(request.model).name}")
        self._jobs.append(job)
        self.queueChanged.emit()
        self._startNext()
        return job

    def cancel(self, job: Job) -> None:
        """End a running job within a second, or take a waiting one out of the queue.

        One whose result is in the scene already has finished.
        """
        if job.result is not None and not job.hasEnded:
            self._end(job, JobState.FINISHED)
        if job.state is JobState.RUNNING:
            self._runner.cancel()
        if not job.hasEnded:
            self._end(job, JobState.CANCELLED)

    def cancelAll(self) -> None:
        """End the running job and all that wait."""
        for job in reversed(self.jobs):  # those that wait first, so that none of them starts
            self.cancel(job)

    def waitFor(self, job: Job, timeoutS: float = 3600.0) -> None:
        """Return when a job has ended; for scripts, the panel uses the signals.

        Raises:
            TimeoutError: It has not ended in time.
        """
        deadline = time.monotonic() + timeoutS
        while not job.hasEnded:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{job.title} has not ended within {timeoutS:.0f} s.")
            slicer.app.processEvents()
            self._poll()
            if not self._pieces.isBusy:
                time.sleep(0.02)

    def canRestore(self, segmentation: Any) -> bool:
        """Whether a segmentation was updated by a job and can be brought back."""
        return self._snapshots.has(segmentation)

    def restorePrevious(self, segmentation: Any) -> None:
        """Bring back what a segmentation was before the last job updated it; undoes itself."""
        with self.edits.ofOurs():
            self._snapshots.restore(segmentation)
        self.restored.emit(segmentation)

    def releaseMemory(self) -> None:
        """Let the idle worker drop its model and the GPU memory."""
        self._runner.releaseMemory()

    def close(self) -> None:
        """Cancel all jobs, end the worker and stop watching the scene; at clean-up and quit."""
        self.cancelAll()
        self._runner.close()
        self.edits.close()
        slicer.mrmlScene.RemoveObserver(self._sceneTag)
        if self._timer is not None:  # a connected method would keep this object alive
            self._timer.timeout.disconnect(self._poll)
            self._timer = None

    # ------------------------------------------------------------------------------- the queue

    def _startNext(self) -> None:
        job = self._jobs[0] if self._jobs else None
        if job is None or job.state is JobState.RUNNING:
            return
        job.state = JobState.RUNNING
        job.progress = Progress("start", 0.0)
        self._startedAt = time.monotonic()
        self._claim.renew()  # a training that runs beside it waits
        self.started.emit(job)
        if job.hasEnded:  # who heard it may have cancelled it
            return
        try:
            checkRequest(job.request)  # the scene may have changed while it waited
            self.warmUp(job.request)  # while the volumes are written
            self._task = SegmentTask(job.request)
        except Exception as error:  # shown to the user: Slicer would print it and go on
            self._fail(job, failureOf(error))
            return
        self._watch()
        self._do(self._write(), job)

    def _write(self) -> Work:
        self._runner.start((yield from self._task.write()))

    def _poll(self) -> None:
        """Tell what happened since the last time; called by the timer."""
        job = self._jobs[0] if self._jobs else None
        if job is None:
            self._pollIdle()
            return
        if job.state is not JobState.RUNNING:
            return
        if job.result is None and not all(map(isInScene, job.request.volumes)):
            self._runner.cancel()
            self._fail(job, volumeRemoved())
            return
        self._claim.renew()
        if self._pieces.isBusy:
            self._doNext(job)
            return
        for event in self._runner.poll():
            if not job.hasEnded:  # who heard of the last one may have cancelled it
                self._take(job, event)

    def _pollIdle(self) -> None:
        """Wait for what `warmUp` has asked for, as long as there is a worker."""
        events = [event for event in self._runner.poll() if isinstance(event, Measured)]
        if self._timer is not None and (events or not self._runner.isWarm):
            self._timer.stop()
        for event in events:
            self.measured.emit(event)

    def _take(self, job: Job, event: Event) -> None:
        if isinstance(event, Progress):
            job.progress = event
            self.progressed.emit(job)
        elif isinstance(event, Notice):
            job.notices.append(self._task.inWords(event))
            self.progressed.emit(job)
        elif isinstance(event, Measured):  # just before the job came
            self.measured.emit(event)
        elif isinstance(event, Failed):
            self._fail(job, self._task.inWords(event))
        elif isinstance(event, Finished):
            self._do(self._load(job, event.report), job)

    def _load(self, job: Job, report: dict[str, Any]) -> Work:
        place = yield from self._task.read(report)
        yield
        with self._snapshots.kept(job.request.output):
            job.result = place()
        self.edits.watch(job.result.segmentation)
        yield

    def _do(self, work: Work, job: Job) -> None:
        """Do something piece by piece, with all else that Slicer has to do in between."""
        self._pieces.begin(work)
        self._timer.setInterval(0)
        self._doNext(job)

    def _doNext(self, job: Job) -> None:
        try:
            with self.edits.ofOurs():
                isDone = self._pieces.doNext()
        except Exception as error:  # shown to the user: Slicer would print it and go on
            self._fail(job, failureOf(error))
            return
        if isDone:
            self._timer.setInterval(_POLL_MS)
            if job.result is not None:
                self._end(job, JobState.FINISHED)

    def _fail(self, job: Job, failure: Failed) -> None:
        job.failure = failure
        self._end(job, JobState.FAILED)

    def _end(self, job: Job, state: JobState) -> None:
        if job.state is JobState.RUNNING:
            job.seconds = time.monotonic() - self._startedAt
            job.log = self._runner.log()
            self._removeTask()
        job.state = state
        if job.result is not None:
            KeptResults.keep(job)
        self._jobs.remove(job)
        ended = {
            JobState.FINISHED: self.finished,
            JobState.FAILED: self.failed,
            JobState.CANCELLED: self.cancelled,
        }
        ended[state].emit(job)
        self.queueChanged.emit()
        self._startNext()

    def _removeTask(self) -> None:
        self._claim.release()
        self._pieces.drop()
        if self._timer is not None:
            self._timer.stop()
        if self._task is not None:
            self._task.remove()
            self._task = None

    def _watch(self) -> None:
        import qt  # here, since all else works without an event loop

        if self._timer is None:
            self._timer = qt.QTimer()
            self._timer.timeout.connect(self._poll)
        self._timer.start(_POLL_MS)

    def _onSceneStartClose(self, *_arguments: Any) -> None:
        self.cancelAll()
        self._snapshots.clear()
        self.edits.close()
