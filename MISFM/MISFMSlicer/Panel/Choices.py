"""What the next run is made from: what is chosen, and guesses where nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..Job import SegmentRequest
from ..Setup.Models import Model
from ..Setup.Settings import Settings
from .InputsView import InputsView
from .ModelsView import ModelsView
from .Outlook import Outlook
from .Parameters import Parameters, speedOptions
from .Readiness import problem

_LAST_MODEL = "MISFM/lastModel"


class Choices:
    """Volumes, model and options as the scene keeps them."""

    def __init__(
        self,
        inputs: InputsView,
        models: ModelsView,
        outlook: Outlook,
        settings: Settings,
        store: Any,
    ) -> None:
        """Choose nothing yet.

        Args:
            inputs: Where volumes are chosen.
            models: The installed models.
            outlook: Knows which model suits a volume.
            settings: What is set for this computer.
            store: A QSettings, which keeps the model of the last run.
        """
        self.parameters: Parameters | None = None
        """None while there is no scene to speak of."""
        self._inputs = inputs
        self._models = models
        self._outlook = outlook
        self._settings = settings
        self._store = store
        self._filledFor: tuple[str, ...] | None = None
        self._guess: str | None = None
        """The model that was chosen before there was a volume."""

    def guessAgain(self) -> None:
        """Choose at the next `fillIn` what is not chosen and can be guessed."""
        self._filledFor = None

    def fillIn(self) -> None:
        """Choose what the user will most probably choose: once for each scene and model."""
        if self._models.models and self.parameters.model in ("", self._guess):
            self._guessModel()
        model = self.model
        channels = model.channels if model is not None else ("",)
        if channels != self._filledFor:
            self._filledFor = channels
            self._inputs.fillIn(channels)

    def _guessModel(self) -> None:
        """Choose the model of the last run, else one that fits the volume once there is one."""
        self._inputs.fillIn(("",))
        if self.volume is None and self.model is not None:
            return
        last = self._models.model(str(self._store.value(_LAST_MODEL, "")))
        model = last or self._outlook.firstThatFits(self.volume, self._models.models)
        self._guess = model.name if self.volume is None and last is None else None
        self.parameters.model = model.name

    @property
    def volume(self) -> Any:
        """The chosen volume node; None when there is none."""
        return self.parameters.volume() if self.parameters is not None else None

    @property
    def model(self) -> Model | None:
        """The chosen model; None when none is chosen, or it is not installed."""
        return self._models.model(self.parameters.model)

    def chooseModel(self, name: str) -> None:
        """Choose a model."""
        if self.parameters is not None:
            self.parameters.model = name

    def dropMissingModel(self) -> None:
        """Choose no model when the chosen one is not installed any more."""
        if self.parameters is not None and self.model is None:
            self.parameters.model = ""

    def remember(self, model: Model) -> None:
        """Let the next scene begin with a model."""
        self._store.setValue(_LAST_MODEL, model.name)

    def request(self, model: Model) -> SegmentRequest:
        """Return the job that is chosen."""
        return self.parameters.request(
            len(model.channels),
            hasInt8=model.hasInt8,
            labels=model.labels,
            **self._settings.options(),
        )

    def atSpeed(self, request: SegmentRequest, model: Model, speed: str) -> SegmentRequest:
        """Return a job as it would be at another speed."""
        options = speedOptions(speed, hasInt8=model.hasInt8)
        return replace(request, options={**options, **self._settings.options()})

    def problem(self, model: Model | None) -> str:
        """Return what has to be chosen or done before a run; empty when all is there."""
        return problem(self.parameters, self._models.models, model)
