"""`slicer.app`."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from ..widgets.ctk_containers import ctkErrorLogModel, ctkSettingsDialog
from ..widgets.properties import stored, with_setters


@dataclass(frozen=True)
class Options:
    """How the application was started; the names are those of Slicer's command line."""

    home: Path
    """Folder for everything the host writes."""
    main_window: bool = True
    testing: bool = False


class qSlicerCommandOptions(QtCore.QObject):
    """The command line."""

    noMainWindow = stored(bool, False)
    testingEnabled = stored(bool, False)
    runPythonAndExit = stored(bool, False)
    noSplash = stored(bool, True)


class qSlicerExtensionsManagerModel(QtCore.QObject):
    """No extension is installed and none can be."""

    interactive = stored(bool, False)

    def isExtensionInstalled(self, _name: str) -> bool:
        return False

    def installExtensionFromServer(
        self, _name: str, _restart: bool = True, _update: bool = False
    ) -> bool:
        """Install an extension; nothing is installed here."""
        return False


@dataclass
class Parts:
    """What the application gives access to; set when it exists."""

    scene: Any = None
    modules: Any = None
    layout: Any = None
    files: Any = None
    leave: Callable[[], None] = lambda: None


@with_setters
class qSlicerApplication(QtWidgets.QApplication):
    """The application."""

    startupCompleted = QtCore.Signal()
    mrmlSceneChanged = QtCore.Signal(object)
    renderPaused = QtCore.Signal(bool)
    applicationLocaleName = stored(str, "en_US")
    temporaryPath = stored(str, "")
    cachePath = stored(str, "")
    defaultScenePath = stored(str, "")
    extensionsInstallPath = stored(str, "")

    def __init__(self, options: Options, version: tuple[int, int, str]):
        super().__init__(["Slicer"])
        self._options = options
        self._version = version
        self._parts = Parts()
        self._exit_code: int | None = None
        self._environment = QtCore.QProcessEnvironment.systemEnvironment()
        self._command_options = qSlicerCommandOptions()
        self._command_options.noMainWindow = not options.main_window
        self._command_options.testingEnabled = options.testing
        self._settings_dialog: ctkSettingsDialog | None = None
        self._error_log = ctkErrorLogModel()
        self._error_log.filePath = str(options.home / "temporary" / "Slicer.log")
        self._extensions = qSlicerExtensionsManagerModel()
        self.setOrganizationName("slicer.org")
        self.setApplicationName("Slicer")
        self.setApplicationVersion(f"{version[0]}.{version[1]}.0-host")
        self._set_folders(options.home)

    def _set_folders(self, home: Path) -> None:
        for name in ("temporary", "cache", "settings"):
            (home / name).mkdir(parents=True, exist_ok=True)
        self.temporaryPath = str(home / "temporary")
        self.cachePath = str(home / "cache")
        ini, user = QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope
        QtCore.QSettings.setDefaultFormat(ini)
        QtCore.QSettings.setPath(ini, user, str(home / "settings"))
        self._user_settings = QtCore.QSettings()
        revision_file = str(home / "settings" / "slicer.org" / f"Slicer-{self._version[2]}.ini")
        self._revision_settings = QtCore.QSettings(revision_file, ini)

    slicerHome = QtCore.Property(str, lambda self: str(self._options.home))
    slicerSharePath = QtCore.Property(str, lambda self: f"share/Slicer-{self._short_version()}")
    majorVersion = QtCore.Property(int, lambda self: self._version[0])
    minorVersion = QtCore.Property(int, lambda self: self._version[1])
    revision = QtCore.Property(str, lambda self: self._version[2])
    repositoryRevision = QtCore.Property(str, lambda _: "host")
    releaseType = QtCore.Property(str, lambda _: "Experimental")
    documentationBaseUrl = QtCore.Property(
        str, lambda _: "https://slicer.readthedocs.io/en/latest/"
    )
    isInstalled = QtCore.Property(bool, lambda _: True)
    os = QtCore.Property(str, lambda _: _operating_system())
    arch = QtCore.Property(str, lambda _: _architecture())
    platform = QtCore.Property(str, lambda _: f"{_operating_system()}-{_architecture()}")
    mainApplicationName = QtCore.Property(str, lambda _: "Slicer")
    slicerUserSettingsFilePath = QtCore.Property(str, lambda self: self._user_settings.fileName())
    slicerRevisionUserSettingsFilePath = QtCore.Property(
        str, lambda self: self._revision_settings.fileName()
    )

    def _short_version(self) -> str:
        return f"{self._version[0]}.{self._version[1]}"

    def commandOptions(self) -> qSlicerCommandOptions:
        return self._command_options

    def testingEnabled(self) -> bool:
        """Whether it was started with `--testing`: then no dialog opens."""
        return self._command_options.testingEnabled

    def mrmlScene(self) -> Any:
        return self._parts.scene.node

    def applicationLogic(self) -> Any:
        return self._parts.scene.application_logic

    def moduleManager(self) -> QtCore.QObject:
        return self._parts.modules

    def moduleLogic(self, name: str) -> Any:
        module = self._parts.modules.module(name)
        return module.logic() if module else None

    def layoutManager(self) -> QtCore.QObject | None:
        """Return who arranges the views; None without a main window."""
        return None if self._command_options.noMainWindow else self._parts.layout

    def coreIOManager(self) -> QtCore.QObject:
        return self._parts.files

    def ioManager(self) -> QtCore.QObject:
        return self._parts.files

    def topLevelWidgets(self) -> list[QtWidgets.QWidget]:
        windows = QtWidgets.QApplication.topLevelWidgets()
        if self._command_options.noMainWindow:
            windows = [w for w in windows if not isinstance(w, QtWidgets.QMainWindow)]
        return windows

    def userSettings(self) -> QtCore.QSettings:
        return self._user_settings

    def settings(self) -> QtCore.QSettings:
        return self._user_settings

    def revisionUserSettings(self) -> QtCore.QSettings:
        return self._revision_settings

    def settingsDialog(self) -> ctkSettingsDialog:
        if self._settings_dialog is None:
            self._settings_dialog = ctkSettingsDialog()
        return self._settings_dialog

    def errorLogModel(self) -> QtCore.QObject:
        return self._error_log

    def extensionsManagerModel(self) -> QtCore.QObject:
        return self._extensions

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return self._environment

    def translate(self, context: str, text: str) -> str:
        """Translate with the installed catalogues."""
        return QtCore.QCoreApplication.translate(context, text)

    def loadTranslations(self, folder: str) -> None:
        """Install the catalogues (.qm) of the application's language in a folder."""
        language = self.applicationLocaleName
        for name in {language, language.replace("_", "-")}:
            for path in sorted(Path(folder).glob(f"*{name}.qm")):
                translator = QtCore.QTranslator(self)
                if translator.load(str(path)):
                    self.installTranslator(translator)

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def pauseRender(self) -> None:
        """Keep the pictures of the views that there are."""
        self.renderPaused.emit(True)

    def resumeRender(self) -> None:
        """Render again."""
        self.renderPaused.emit(False)

    def restart(self) -> None:
        """Refuse: a module must not restart the application in a test."""
        raise RuntimeError("The test host does not restart.")

    def exit(self, code: int = 0) -> None:
        """Leave the application with an exit code."""
        self._exit_code = code
        self._parts.leave()
        QtCore.QCoreApplication.exit(code)

    def quit(self) -> None:
        """Leave the application."""
        self.exit(0)

    def _requested_exit_code(self) -> int | None:
        return self._exit_code


def _operating_system() -> str:
    return {"linux": "linux", "darwin": "macosx", "win32": "win"}.get(sys.platform, os.name)


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
