"""What proxies are, for who converts values to them and from them without making any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ProxyClass(type):
    """Base of the type of the proxy classes; `_pyside` is the class that one stands for."""

    _pyside: Any


class Proxy:
    """Base of all proxies; `_raw` is the Qt object that one stands for."""

    __slots__ = ()
    _raw: Any


_makers: list[Callable[[Any], Any]] = []


def make_with(maker: Callable[[Any], Any]) -> None:
    """Say who makes the proxy of a Qt object."""
    _makers[:] = [maker]


def proxy_of(raw: Any) -> Any:
    """Return the proxy of a Qt object."""
    return _makers[0](raw)
