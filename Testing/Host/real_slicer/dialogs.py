"""Modal dialogs of the real application: answered by the test, or refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
import slicer

_FILE_DIALOGS = (
    "getOpenFileName",
    "getOpenFileNames",
    "getSaveFileName",
    "getExistingDirectory",
)
_LOOK_EVERY_MS = 10
_SEEN = "misfmTestSaw"


class ModalDialogError(RuntimeError):
    """A modal dialog opened and the test has no answer: Slicer would wait for ever."""


@dataclass(frozen=True)
class Shown:
    """One dialog that the code under test opened."""

    kind: str
    title: str
    text: str


def _seen(widget: Any) -> Shown:
    text = widget.text if widget.inherits("QMessageBox") else ""
    return Shown(widget.className(), widget.windowTitle.strip(), text)


class Dialogs:
    """Looks for a modal dialog all the time, and presses the button that the test has named.

    An answer is a button's name, a number, or a callable that gets the dialog and returns whether
    it is accepted. The dialogs for files are the system's: they are not opened, and an answer is
    what they return.
    """

    def __init__(self, record: Callable[[BaseException], None]):
        self.shown: list[Shown] = []
        self._answers: deque[Any] = deque()
        self._record = record
        for name in _FILE_DIALOGS:
            setattr(qt.QFileDialog, name, self._file_dialog(name))
        self._timer = qt.QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(_LOOK_EVERY_MS)

    def answer(self, *answers: Any) -> None:
        """Answer the next dialogs, in this order."""
        self._answers.extend(answers)

    def reset(self) -> list[Any]:
        """Forget what was shown; return the answers that no dialog asked for."""
        unused = list(self._answers)
        self._answers.clear()
        self.shown.clear()
        return unused

    def _file_dialog(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            words = [argument for argument in arguments if isinstance(argument, str)]
            shown = Shown(f"QFileDialog.{name}", (words or [""])[0].strip(), " ".join(words[1:]))
            if not self._is_expected(shown):
                raise self._unexpected(shown)
            return self._answers.popleft()

        return ask

    def _look(self) -> None:
        menu = slicer.app.activePopupWidget()
        if menu is not None and menu.inherits("QMenu") and not self._is_expected(_seen(menu)):
            self._record(self._unexpected(_seen(menu)))
            menu.close()
            return
        dialog = slicer.app.activeModalWidget()
        if dialog is None or dialog.property(_SEEN) or dialog.inherits("QProgressDialog"):
            return
        dialog.setProperty(_SEEN, True)
        if not self._is_expected(_seen(dialog)):
            self._record(self._unexpected(_seen(dialog)))
            dialog.reject()
            return
        answer = self._answers.popleft()
        if callable(answer):
            answer = answer(dialog)
        if isinstance(answer, str):
            dialog.button(getattr(qt.QMessageBox, answer)).click()
        else:
            dialog.done(int(answer))

    def _is_expected(self, shown: Shown) -> bool:
        self.shown.append(shown)
        return bool(self._answers)

    @staticmethod
    def _unexpected(shown: Shown) -> ModalDialogError:
        return ModalDialogError(f"{shown.kind} '{shown.title}' asks: {shown.text}")
