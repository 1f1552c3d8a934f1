"""Configs of bundles in MONAI's form, read without running any of their code.

What cannot be known without running code is an error when, and only when, its value is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MISFMLib.jobs.imports.monai_expressions import REFERENCE, Unreadable, evaluated
from MISFMLib.jobs.imports.sources import refused, within

_DEEPEST = 40


class MonaiConfig:
    """The content of ``configs/inference.json`` with its references followed on demand."""

    def __init__(self, content: Mapping[str, Any], root: Path) -> None:
        """Take a config over.

        Args:
            content: The config.
            root: Folder of the bundle, ``bundle_root`` whatever the config says.
        """
        self._content = {**content, "bundle_root": "."}
        self._root = root
        self._depth = 0

    def has(self, path: str) -> bool:
        """Tell whether there is something at ``a#b#0``."""
        try:
            self._raw(path)
        except (Unreadable, RecursionError):
            return False
        return True

    def get(self, path: str) -> Any:
        """Return the value at ``a#b#0``: JSON types, components as dicts with ``_target_``.

        Raises:
            BundleError: It cannot be known without running code.
        """
        try:
            return self.value(self._raw(path))
        except (Unreadable, RecursionError) as error:
            raise refused(
                f"{path} in the config of the bundle cannot be read without running code: {error}."
            ) from error

    def value(self, raw: Any) -> Any:
        """Return what a piece of the config means.

        Raises:
            Unreadable: It cannot be known without running code.
        """
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise Unreadable("its references run in a circle")
            if isinstance(raw, Mapping):
                return self._dict(raw)
            if isinstance(raw, list):
                values = [self.value(item) for item in raw]
                return [item for item in values if item is not _DISABLED]
            return self._string(raw) if isinstance(raw, str) else raw
        finally:
            self._depth -= 1

    def _dict(self, raw: Mapping[str, Any]) -> Any:
        if "_target_" in raw and self.value(raw.get("_disabled_", False)) in (True, "true", "True"):
            return _DISABLED
        kept = {key: raw[key] for key in raw if key not in ("_disabled_", "_desc_", "_requires_")}
        return {key: _Lazy(self, item).now_or_later() for key, item in kept.items()}

    def _string(self, raw: str) -> Any:
        if raw.startswith("%"):  # a copy of another part; of other files none is read
            return self.value(self._raw(raw[1:].lstrip("#:")))
        if match := REFERENCE.fullmatch(raw):
            return self.value(self._raw(match[1]))
        if raw.startswith("$"):
            return evaluated(raw[1:].strip(), self._reference, self._exists)
        return raw

    def _exists(self, path: str) -> bool:
        """Tell whether a file of the bundle is there; others are not looked for."""
        file = within(self._root, path)
        if file is None:
            raise Unreadable(f"{path} is not in the bundle")
        return file.exists()

    def _raw(self, path: str) -> Any:
        node: Any = self._content
        for part in path.replace("::", "#").split("#"):
            if isinstance(node, str) and REFERENCE.fullmatch(node):
                node = self._raw(node[1:])
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (LookupError, TypeError, ValueError) as error:
                raise Unreadable(f"there is no {path}") from error
        return node

    def _reference(self, path: str) -> Any:
        return self.value(self._raw(path))


_DISABLED = object()


class _Lazy:
    """A value of a component that may be unreadable as long as nobody asks for it."""

    def __init__(self, config: MonaiConfig, raw: Any) -> None:
        self._config, self._raw = config, raw

    def now_or_later(self) -> Any:
        try:
            return self._config.value(self._raw)
        except Unreadable as error:
            return Unknown(str(error))


class Unknown:
    """Stands for a value that cannot be read; `why` says what it is."""

    def __init__(self, why: str) -> None:
        self.why = why
