"""Configs of bundles in MONAI's form, read without running any of their code.

A string that begins with ``$`` is Python to MONAI. Here it is parsed, and a closed set of forms is
understood: literals, references, arithmetic, comparisons, choices, ``list``, ``len``, ``range``,
``os.path.join`` and ``x.to(device)``. Anything else is an error when, and only when, its value is
needed.
"""

from __future__ import annotations

import ast
import operator
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from MISFMLib.jobs.imports.sources import refused

_REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")
_PLACEHOLDER = "reference_{}_of_misfm"
_DEEPEST = 40
_LARGEST_RANGE = 10_000

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_NAMES = {
    "monai.utils.CommonKeys.IMAGE": "image",
    "monai.utils.CommonKeys.LABEL": "label",
    "monai.utils.CommonKeys.PRED": "pred",
    "monai.utils.enums.CommonKeys.IMAGE": "image",
    "monai.utils.enums.CommonKeys.PRED": "pred",
}


class Unreadable(Exception):
    """A value cannot be known without running code."""


class MonaiConfig:
    """The content of ``configs/inference.json`` with its references followed on demand."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content
        self._depth = 0

    def has(self, path: str) -> bool:
        """Tell whether there is something at ``a#b#0``."""
        try:
            self._raw(path)
        except Unreadable:
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
        if raw.startswith("%"):
            raise Unreadable(f"the macro {raw}")
        if match := _REFERENCE.fullmatch(raw):
            return self.value(self._raw(match[1]))
        return self._expression(raw[1:].strip()) if raw.startswith("$") else raw

    def _raw(self, path: str) -> Any:
        node: Any = self._content
        for part in path.replace("::", "#").split("#"):
            if isinstance(node, str) and _REFERENCE.fullmatch(node):
                node = self._raw(node[1:])
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (LookupError, TypeError, ValueError) as error:
                raise Unreadable(f"there is no {path}") from error
        return node

    def _expression(self, text: str) -> Any:
        references: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            references.append(match[1])
            return _PLACEHOLDER.format(len(references) - 1)

        source = _REFERENCE.sub(numbered, text)
        try:
            tree = ast.parse(source, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Unreadable(f"${text}") from error
        try:
            return _Evaluator(self, references).value(tree)
        except Unreadable:
            raise Unreadable(f"${text}") from None
        except (ArithmeticError, TypeError, ValueError, LookupError) as error:
            raise Unreadable(f"${text} ({error})") from error

    def reference(self, path: str) -> Any:
        """Return the value of a reference in an expression."""
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


class _Evaluator:
    """Evaluates the closed set of forms."""

    def __init__(self, config: MonaiConfig, references: list[str]) -> None:
        self._config, self._references = config, references

    def value(self, node: ast.expr) -> Any:
        simple: dict[type[ast.expr], Callable[[Any], Any]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.BinOp: self._operation,
            ast.UnaryOp: self._unary,
            ast.BoolOp: self._boolean,
            ast.Compare: self._comparison,
            ast.IfExp: self._choice,
            ast.Subscript: self._item,
            ast.Call: self._call,
        }
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.Dict) and all(node.keys):
            keys = [self.value(key) for key in node.keys if key is not None]
            return dict(zip(keys, map(self.value, node.values), strict=True))
        for kind, evaluate in simple.items():
            if isinstance(node, kind):
                return evaluate(node)
        raise Unreadable(ast.dump(node))

    def _constant(self, node: ast.Constant) -> Any:
        if not isinstance(node.value, str):
            return node.value
        text = node.value  # MONAI replaces references within strings as well
        for number, path in reversed(list(enumerate(self._references))):
            text = text.replace(_PLACEHOLDER.format(number), f"@{path}")
        return text

    def _name(self, node: ast.Name) -> Any:
        if match := re.fullmatch(_PLACEHOLDER.format(r"(\d+)"), node.id):
            return self._config.reference(self._references[int(match[1])])
        raise Unreadable(node.id)

    def _attribute(self, node: ast.Attribute) -> Any:
        dotted = ast.unparse(node)
        if dotted in _NAMES:
            return _NAMES[dotted]
        raise Unreadable(dotted)

    def _operation(self, node: ast.BinOp) -> Any:
        operation = _OPERATORS.get(type(node.op))
        if operation is None:
            raise Unreadable("an operator")
        left, right = self.value(node.left), self.value(node.right)
        are_numbers = all(isinstance(side, int | float) for side in (left, right))
        if not are_numbers and not isinstance(node.op, ast.Add):
            raise Unreadable("arithmetic with something else than numbers")
        return operation(left, right)

    def _unary(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return not self.value(node.operand)
        if isinstance(node.op, ast.USub):
            return -self.value(node.operand)
        raise Unreadable("an operator")

    def _boolean(self, node: ast.BoolOp) -> Any:
        stops_at = isinstance(node.op, ast.Or)
        for item in node.values:
            result = self.value(item)
            if bool(result) == stops_at:
                break
        return result

    def _comparison(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for operation, item in zip(node.ops, node.comparators, strict=True):
            compare = _COMPARISONS.get(type(operation))
            if compare is None:
                raise Unreadable("a comparison")
            right = self.value(item)
            if not compare(left, right):
                return False
            left = right
        return True

    def _choice(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _item(self, node: ast.Subscript) -> Any:
        return self.value(node.value)[self.value(node.slice)]

    def _call(self, node: ast.Call) -> Any:
        called = ast.unparse(node.func)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("to", "cuda", "cpu", "eval"):
            return self.value(node.func.value)
        if node.keywords:
            raise Unreadable(called)
        arguments = [self.value(item) for item in node.args]
        if called == "range" and all(abs(int(number)) < _LARGEST_RANGE for number in arguments):
            return list(range(*arguments))
        known: dict[str, Callable[..., Any]] = {
            "os.path.join": posixpath.join,
            "list": list,
            "tuple": list,
            "len": len,
            "int": int,
            "float": float,
            "str": str,
            "min": min,
            "max": max,
            "sorted": sorted,
        }
        if called not in known:
            raise Unreadable(called)
        return known[called](*arguments)
