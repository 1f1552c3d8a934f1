"""Why a job failed, in the words of the panel."""

from __future__ import annotations

import traceback

from slicer.i18n import tr as _

from MISFMLib.errors import MISFMError
from MISFMLib.events import Failed


def failureOf(error: Exception) -> Failed:
    """Return what an error before or after the run of a job means for the user."""
    if isinstance(error, MISFMError):
        return Failed(error.message, code=error.code, remedy=error.remedy)
    if isinstance(error, OSError):
        return Failed(
            _("The files for the job cannot be written or read: {error}").format(error=error),
            code="temporary-files",
            remedy=_(
                "Free some space on the disk, or choose another temporary folder in Slicer's"
                " settings."
            ),
        )
    return Failed(
        _("Unexpected {kind}: {message}").format(kind=type(error).__name__, message=error),
        code="internal",
        remedy=_("Report it with Copy report."),
        traceback="".join(traceback.format_exception(error)),
    )


def volumeRemoved() -> Failed:
    """Say that the user removed the volume of a job."""
    return Failed(
        _("The volume was removed from the scene while it was segmented."),
        code="volume-removed",
        remedy=_("Load it again to segment it."),
    )
