"""ITK's habits that callers should not see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import SimpleITK as sitk  # noqa: N813 the name everyone uses


@contextlib.contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's warnings off the terminal; what matters of them is checked here."""
    was_on = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(was_on)
