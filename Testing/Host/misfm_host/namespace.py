"""Make the `slicer` package of the wheel look like the one inside the application."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import slicer
import slicer.util

from .pythonqt.classes import proxy_class, wrap
from .pythonqt.modules import make_ctk, make_qt
from .shell import application, files, layout, main_window, modules, view_widgets, views
from .widgets import ctk_containers, ctk_inputs, item_views, loader, mrml, segments

# Left behind by the wheel's own start-up code.
_WHEEL_NAMES = ("me", "info", "item_name", "module", "iter_modules", "import_module", "extend_path")
# Python module of the host -> its name in Slicer.
_SCRIPTED = {
    "i18n": "slicer.i18n",
    "packaging": "slicer.packaging",
    "ScriptedLoadableModule": "slicer.ScriptedLoadableModule",
    "SampleData": "SampleData",
}


def _classes(*python_modules: types.ModuleType) -> dict[str, Any]:
    """Return the public stand-ins of some Python modules."""
    return {
        name: value
        for python_module in python_modules
        for name, value in vars(python_module).items()
        if isinstance(value, type)
        and value.__module__ == python_module.__name__
        and name.startswith(("qMRML", "qSlicer", "ctk"))
    }


def install_modules() -> None:
    """Provide `qt` and `ctk`, and take from `slicer` what the application does not have."""
    widgets = _classes(ctk_containers, ctk_inputs, item_views, mrml, segments)
    loader.UiLoader.stand_ins = widgets
    sys.modules["qt"] = make_qt({"QUiLoader": loader.UiLoader})
    sys.modules["ctk"] = make_ctk({n: c for n, c in widgets.items() if n.startswith("ctk")})
    for name, value in list(vars(slicer).items()):
        leaked = not name.startswith("__") and vars(slicer.util).get(name, slicer) is value
        if leaked or name in _WHEEL_NAMES:
            delattr(slicer, name)
    shell = _classes(application, files, layout, main_window, modules, view_widgets, views)
    for name, stand_in in {**widgets, **shell}.items():
        if name.startswith("q"):
            setattr(slicer, name, proxy_class(stand_in))
    for name in ("modules", "moduleNames"):
        module = types.ModuleType(name)
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def install_application(app: application.qSlicerApplication, scene: Any) -> None:
    """Provide `slicer.app`, `slicer.mrmlScene` and the Python modules the wheel lacks."""
    slicer.app = wrap(app)
    slicer.mrmlScene = scene
    for name, name_in_slicer in _SCRIPTED.items():
        module = importlib.import_module(f".scripted.{name}", __package__)
        sys.modules[name_in_slicer] = module
        if name_in_slicer.startswith("slicer."):
            setattr(slicer, name, module)
