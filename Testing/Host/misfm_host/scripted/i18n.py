"""`slicer.i18n`: translations come from the Qt catalogues that the application has installed."""

import functools
import sys
from pathlib import Path

import slicer


def translate(context, text):
    """Return the translation of a text in a context."""
    return slicer.app.translate(context, text)


@functools.cache
def getContext(sourceFile):
    """Return the context of a file: its name, after its package's if it is in one."""
    path = Path(sourceFile)
    if (path.parent / "__init__.py").is_file():
        return f"{path.parent.name}.{path.stem}"
    return path.stem


def tr(text):
    """Return the translation of a text in the context of the calling file."""
    caller = sys._getframe(1).f_code.co_filename
    return translate(getContext(caller), text)
