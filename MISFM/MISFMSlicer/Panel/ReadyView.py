"""What is to be expected before a click on Segment, and what is done meanwhile to make it quick."""

from __future__ import annotations

from typing import Any

from ..Job import SegmentRequest
from ..Jobs.Logic import MISFMLogic
from ..Setup.Models import Model
from .Choices import Choices
from .Forecast import Forecast
from .InputsView import InputsView
from .NoticeView import NoticeView
from .Outlook import Outlook, forecastText
from .Parameters import SPEEDS
from .RunView import RunView
from .Workload import mirrorImages


class ReadyView:
    """Shows the forecast and warnings of what is chosen, and lets the worker start early."""

    def __init__(self, ui: Any, logic: MISFMLogic, outlook: Outlook, choices: Choices) -> None:
        """Keep what it works with.

        Args:
            ui: Widgets of the .ui file by their names.
            logic: Runs the jobs.
            outlook: Knows how long jobs take.
            choices: What is chosen.
        """
        self._logic, self._outlook, self._choices = logic, outlook, choices
        self._run = RunView(ui)
        self._warmedFor: tuple[str, str] | None = None

    def show(
        self, model: Model | None, inputs: InputsView, notices: NoticeView, *, note: str, setup: str
    ) -> None:
        """Show whether Segment can be pressed, and what it would take.

        Args:
            model: The chosen one.
            inputs: Shows the times of all speeds.
            notices: Shows warnings.
            note: What happened last, shown in place of the forecast.
            setup: What has to be set up, shown likewise; the worker cannot start before.
        """
        why = self._choices.problem(model)
        if why:
            self._run.showRefused(why)
            notices.showWarnings([])
            return
        request = self._choices.request(model)
        self._run.showReady(note or setup or forecastText(self._forecast(request, model)))
        notices.showWarnings(self._outlook.warnings(request, model))
        self._showSpeeds(request, model, inputs)
        if not setup:
            self._warmUp(request, model)

    def forget(self) -> None:
        """Let the worker start again for the next choice: it may measure a window now."""
        self._warmedFor = None

    def _warmUp(self, request: SegmentRequest, model: Model) -> None:
        """Start the worker while the user still looks, once for a choice: it ends when idle."""
        choice = (request.volumes[0].GetID(), request.model)
        if choice != self._warmedFor:
            self._warmedFor = choice
            self._logic.warmUp(request, measures=self._outlook.wantsMeasurement(request, model))

    def _forecast(self, request: SegmentRequest, model: Model) -> Forecast | None:
        return self._outlook.forecast(request, model, isWarm=self._logic.isWorkerLoaded)

    def _showSpeeds(self, request: SegmentRequest, model: Model, inputs: InputsView) -> None:
        times = {}
        for speed in SPEEDS:
            forecast = self._forecast(self._choices.atSpeed(request, model, speed), model)
            times[speed] = forecastText(forecast) if forecast is not None else ""
        inputs.showSpeeds(mirrorImages(model.manifest.preprocessing), times)
