"""Modal dialogs: shown when a person is there, answered by the test, or refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6 import QtWidgets


class ModalDialogError(RuntimeError):
    """A modal dialog opened and nobody is there to answer: real Slicer would hang here."""


@dataclass(frozen=True)
class Shown:
    """One dialog that the code under test opened."""

    kind: str
    title: str
    text: str


class Dialogs:
    """Decides what a modal dialog does.

    With `interactive` it opens. Otherwise the next scripted answer is used; without one the
    dialog is an error. An answer is the result of the call (a button's name, a file name, a
    number), or a callable that gets the dialog and returns the result.
    """

    def __init__(self, record: Callable[[BaseException], None]):
        self.interactive = False
        self.shown: list[Shown] = []
        self._answers: deque[Any] = deque()
        self._record = record

    def answer(self, *answers: Any) -> None:
        """Answer the next dialogs, in this order."""
        self._answers.extend(answers)

    def reset(self) -> list[Any]:
        """Forget what was shown; return the answers that no dialog asked for."""
        unused = list(self._answers)
        self._answers.clear()
        self.shown.clear()
        return unused

    def run(self, dialog: QtWidgets.QDialog, proxy: Any) -> int:
        """Do what `dialog.exec_()` stands for; `proxy` is what an answering callable gets."""
        text = dialog.text() if isinstance(dialog, QtWidgets.QMessageBox) else ""
        kind = dialog.metaObject().className()
        if self._opens(kind, dialog.windowTitle(), text):
            return int(dialog.exec())
        answer = self._answers.popleft()
        return _result(dialog, answer(proxy) if callable(answer) else answer)

    def run_static(self, kind: str, arguments: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Do what a static call such as `QFileDialog.getOpenFileName` stands for."""
        words = [argument for argument in arguments if isinstance(argument, str)]
        if self._opens(kind, words[0] if words else "", " ".join(words[1:])):
            return call()
        return self._answers.popleft()

    def _opens(self, kind: str, title: str, text: str) -> bool:
        self.shown.append(Shown(kind, title.strip(), text))
        if self.interactive or self._answers:
            return self.interactive
        error = ModalDialogError(f"{kind} '{title.strip()}' asks: {text}")
        self._record(error)
        raise error


def _result(dialog: QtWidgets.QDialog, answer: Any) -> int:
    if not isinstance(dialog, QtWidgets.QMessageBox):
        dialog.done(int(bool(answer)))
        return dialog.result()
    if not isinstance(answer, str):
        return int(answer)
    button = QtWidgets.QMessageBox.StandardButton[answer]
    if dialog.button(button) is None:
        raise ValueError(f"The message box has no button {answer}.")
    return int(button.value)
