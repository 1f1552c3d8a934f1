"""Python expressions in configs of MONAI's form: parsed, never run.

A closed set of forms is understood: literals, references, arithmetic, comparisons, choices, lists
over a range, parts of lists, ``len``, ``sum`` and the like, ``os.path.join``, whether a file of the
bundle exists, and ``x.to(device)``.
"""

from __future__ import annotations

import ast
import operator
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")
"""A reference, such as ``@network_def#strides``."""
_PLACEHOLDER = "reference_{}_of_misfm"
_LARGEST_RANGE = 1000
_MOST_STEPS = 10_000
_LARGEST_BASE, _LARGEST_POWER = 1024, 16

Follow = Callable[[str], Any]
"""Gives the value of a reference."""
Exists = Callable[[str], bool]
"""Tells whether a file is there; raises `Unreadable` where that must not be asked."""

_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
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


def _nowhere(path: str) -> bool:
    raise Unreadable(path)


def evaluated(text: str, follow: Follow, exists: Exists = _nowhere) -> Any:
    """Return the value of an expression without its ``$``.

    Args:
        text: The expression.
        follow: Gives the value of a reference.
        exists: Tells whether a file is there.

    Raises:
        Unreadable: It has other forms, or does not fit the values it uses.
    """
    references: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        references.append(match[1])
        return _PLACEHOLDER.format(len(references) - 1)

    source = REFERENCE.sub(numbered, text)
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"${text}") from error
    try:
        return _Evaluator(follow, references, exists).value(tree)
    except Unreadable:
        raise Unreadable(f"${text}") from None
    except (ArithmeticError, TypeError, ValueError, LookupError) as error:
        raise Unreadable(f"${text} ({error})") from error


def _power(base: float, power: float) -> Any:
    if abs(base) > _LARGEST_BASE or not 0 <= power <= _LARGEST_POWER:
        raise Unreadable("a large power")
    return base**power


def _repeated(left: Any, right: Any) -> list[Any]:
    """Return ``[16] * 2`` or ``2 * [16]``."""
    items, times = (left, right) if isinstance(left, list) else (right, left)
    if len(items) * times > _LARGEST_RANGE:
        raise Unreadable("a long list")
    repeated: list[Any] = items * times
    return repeated


class _Evaluator:
    """Evaluates the closed set of forms."""

    def __init__(self, follow: Follow, references: list[str], exists: Exists) -> None:
        self._follow, self._references, self._exists = follow, references, exists
        self._loops: dict[str, Any] = {}
        """Values of the names that run over a list at the moment."""
        self._steps = 0

    def value(self, node: ast.expr) -> Any:
        """Return the value of a part of the expression."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise Unreadable("a long loop")
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
            ast.ListComp: self._loop,
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
            return self._follow(self._references[int(match[1])])
        if node.id in self._loops:
            return self._loops[node.id]
        raise Unreadable(node.id)

    def _loop(self, node: ast.ListComp) -> list[Any]:
        loop = node.generators[0]
        if len(node.generators) > 1 or loop.ifs or not isinstance(loop.target, ast.Name):
            raise Unreadable("a nested loop")
        values, name = [], loop.target.id
        for item in self.value(loop.iter):
            self._loops[name] = item
            values.append(self.value(node.elt))
        self._loops.pop(name, None)
        return values

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
        if isinstance(node.op, ast.Pow) and are_numbers:
            return _power(left, right)
        if isinstance(node.op, ast.Mult) and {type(left), type(right)} == {int, list}:
            return _repeated(left, right)
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
        if isinstance(node.slice, ast.Slice):
            ends = (node.slice.lower, node.slice.upper, node.slice.step)
            return self.value(node.value)[slice(*(end and self.value(end) for end in ends))]
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
            "os.path.exists": self._exists,
            "os.path.isfile": self._exists,
            "list": list,
            "tuple": list,
            "len": len,
            "int": int,
            "float": float,
            "bool": bool,
            "abs": abs,
            "round": round,
            "sum": sum,
            "str": str,
            "min": min,
            "max": max,
            "sorted": sorted,
        }
        if called not in known:
            raise Unreadable(called)
        return known[called](*arguments)
