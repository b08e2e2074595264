"""What each kind of node of an expression means, and what it costs."""

import operator
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from jinja2 import nodes

from automation.templates.filters import (
    ABSENT,
    EXPECT_ABSENT,
    FILTERS,
    TESTS,
    AbsentError,
    FaultError,
    as_text,
    bounded,
    is_number,
    number,
)

ALLOWANCE = 8 * 1024 * 1024
"""Characters and members that all templates of one `render` may read and make: eight times the longest text."""
_NAMED = 10  # keys of an object that a message names


class Run:
    """One rendering: the context that names are found in, and what it may still read and make."""

    __slots__ = ("context", "left")

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.context = context
        self.left = ALLOWANCE

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise FaultError(f"the templates of this value read and make more than {ALLOWANCE} characters")

    def read(self, value: Any) -> Any:
        """`value`, after paying for all of it."""
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, str):
                self.spend(len(one) + 1)
            elif isinstance(one, list):
                self.spend(len(one) + 1)
                waiting += one
            elif isinstance(one, Mapping):
                self.spend(sum(len(key) + 1 for key in one) + 1)
                waiting += one.values()
        return value

    def result(self, value: Any) -> Any:
        """A copy of `value` that shares nothing with the context, paid for, in types of JSON only."""
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return number(value)
        if isinstance(value, str):
            bounded(len(value))
            self.spend(len(value) + 1)
            return value
        if isinstance(value, list):
            self.spend(len(value) + 1)
            return [self.result(member) for member in value]
        if isinstance(value, Mapping):
            self.spend(sum(len(key) + 1 for key in value) + 1)
            return {key: self.result(member) for key, member in value.items()}
        raise FaultError(f"it makes a {type(value).__name__}, which is not JSON")


def evaluate(node: nodes.Node, run: Run) -> Any:
    """The value of an expression that `language.parse` let pass.

    Raises:
        AbsentError: a name or a member is not there.
        FaultError: it cannot be computed, or would make too much.
    """
    return _MEANINGS[type(node)](node, run)


def _kind(value: Any) -> str:
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return "null" if value is None else f"a {type(value).__name__}"


_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (bool, "a boolean"), ((int, float), "a number"), (str, "a text"), (list, "a list"), (Mapping, "an object"),
)  # fmt: skip


# --- names and members -----------------------------------------------------------------------------------------------


def _name(node: nodes.Name, run: Run) -> Any:
    if node.name in run.context:
        return run.context[node.name]
    raise AbsentError(f"{node.name!r} is not there{_instead(run.context)}")


def _getattr(node: nodes.Getattr, run: Run) -> Any:
    return _member(node.node, node.attr, run)


def _getitem(node: nodes.Getitem, run: Run) -> Any:
    if not isinstance(node.arg, nodes.Slice):
        return _member(node.node, evaluate(node.arg, run), run)
    value = evaluate(node.node, run)
    ends = [None if end is None else evaluate(end, run) for end in (node.arg.start, node.arg.stop, node.arg.step)]
    if not isinstance(value, (str, list)) or not all(end is None or type(end) is int for end in ends) or ends[2] == 0:
        raise FaultError(f"{_spelled(node.node)} is {_kind(value)}; a text or list is cut with [from:to]")
    run.spend(len(value))
    return value[slice(*ends)]


def _member(owner: nodes.Expr, key: Any, run: Run) -> Any:
    value = evaluate(owner, run)
    is_index = type(key) is int
    if isinstance(value, Mapping):
        name = str(key) if is_index else key  # `data.0` is an index to Jinja
        if isinstance(name, str) and name in value:
            return value[name]
        raise AbsentError(f"{_shown(key)} is not there in {_spelled(owner)}{_instead(value)}")
    if isinstance(value, (list, str)) and is_index:
        if -len(value) <= key < len(value):
            return value[key]
        raise AbsentError(f"{_shown(key)} is not there: {_spelled(owner)} has {len(value)} members")
    raise AbsentError(f"{_shown(key)} is not there: {_spelled(owner)} is {_kind(value)}")


def _shown(key: Any) -> str:
    return repr(key[:80]) if isinstance(key, str) else str(key) if is_number(key) else _kind(key)


def _instead(value: Mapping[str, Any]) -> str:
    names = ", ".join(_shown(name) for name in islice(value, _NAMED))
    more = ", …" if len(value) > _NAMED else ""
    return f", only {names}{more}" if names else ", nothing is"


def _spelled(node: nodes.Node) -> str:
    """An expression as it was written, as far as it is a chain of names."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_spelled(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{_spelled(node.node)}.{_shown(node.arg.value)}"
    return "(…)"


# --- making and choosing ---------------------------------------------------------------------------------------------


def _list(node: nodes.List | nodes.Tuple, run: Run) -> list[Any]:
    return [evaluate(item, run) for item in node.items]


def _dict(node: nodes.Dict, run: Run) -> dict[str, Any]:
    made = {}
    for pair in node.items:
        key = evaluate(pair.key, run)
        if not isinstance(key, str):
            raise FaultError(f"a key of an object is a text, not {_kind(key)}")
        made[key] = evaluate(pair.value, run)
    return made


def _choose(node: nodes.CondExpr, run: Run) -> Any:
    chosen = node.expr1 if evaluate(node.test, run) else node.expr2
    return None if chosen is None else evaluate(chosen, run)


def _compare(node: nodes.Compare, run: Run) -> bool:
    left = run.read(evaluate(node.expr, run))
    for operand in node.ops:
        right = run.read(evaluate(operand.expr, run))
        try:
            if not _COMPARISONS[operand.op](left, right):
                return False
        except TypeError:
            raise FaultError(f"{_kind(left)} and {_kind(right)} cannot be compared this way") from None
        left = right
    return True


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda member, group: member in group,
    "notin": lambda member, group: member not in group,
}


# --- computing -------------------------------------------------------------------------------------------------------


def _computed(node: nodes.BinExpr, run: Run) -> Any:
    left, right = evaluate(node.left, run), evaluate(node.right, run)
    if isinstance(node, nodes.Add) and isinstance(left, str) and isinstance(right, str):
        return _joined([left, right], run)
    if isinstance(node, nodes.Add) and isinstance(left, list) and isinstance(right, list):
        run.spend(len(left) + len(right))
        return left + right
    if not is_number(left) or not is_number(right):
        raise FaultError(f"{node.operator} computes with numbers, not with {_kind(left)} and {_kind(right)}")
    try:
        return number(_OPERATIONS[node.operator](left, right))
    except ArithmeticError as error:
        raise FaultError(f"{node.operator}: {error}") from None


_OPERATIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def _signed(node: nodes.UnaryExpr, run: Run) -> Any:
    value = evaluate(node.node, run)
    if not is_number(value):
        raise FaultError(f"{node.operator} takes a number, not {_kind(value)}")
    return number(-value if node.operator == "-" else value)


def _concatenated(node: nodes.Concat, run: Run) -> str:
    return _joined([as_text(run.result(evaluate(part, run))) for part in node.nodes], run)


def _joined(texts: list[str], run: Run) -> str:
    length = sum(map(len, texts))
    bounded(length)
    run.spend(length)
    return "".join(texts)


# --- filters and tests -----------------------------------------------------------------------------------------------


def _filtered(node: nodes.Filter, run: Run) -> Any:
    value = _subject(node, run)
    arguments = [run.read(evaluate(argument, run)) for argument in node.args]
    named = {str(pair.key): run.read(evaluate(pair.value, run)) for pair in node.kwargs}
    try:
        made = FILTERS[node.name](value, *arguments, **named)
    except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise FaultError(f"the filter {node.name} cannot use {_kind(value)}: {error}") from None
    if isinstance(made, str):
        bounded(len(made))
        run.spend(len(made))
    return made


def _tested(node: nodes.Test, run: Run) -> bool:
    return TESTS[node.name](_subject(node, run))


def _subject(node: nodes.Filter | nodes.Test, run: Run) -> Any:
    """What a filter or test is applied to; those that expect it get `ABSENT` for what is not there."""
    assert node.node is not None  # only the block {% filter %} has none
    try:
        return run.read(evaluate(node.node, run))
    except AbsentError:
        if node.name in EXPECT_ABSENT:
            return ABSENT
        raise


_MEANINGS: Final[dict[type[nodes.Node], Callable[[Any, Run], Any]]] = {
    nodes.Const: lambda node, run: node.value,
    nodes.Name: _name,
    nodes.Getattr: _getattr,
    nodes.Getitem: _getitem,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _dict,
    nodes.And: lambda node, run: evaluate(node.left, run) and evaluate(node.right, run),
    nodes.Or: lambda node, run: evaluate(node.left, run) or evaluate(node.right, run),
    nodes.Not: lambda node, run: not evaluate(node.node, run),
    nodes.CondExpr: _choose,
    nodes.Compare: _compare,
    nodes.Add: _computed,
    nodes.Sub: _computed,
    nodes.Mul: _computed,
    nodes.Div: _computed,
    nodes.FloorDiv: _computed,
    nodes.Mod: _computed,
    nodes.Neg: _signed,
    nodes.Pos: _signed,
    nodes.Concat: _concatenated,
    nodes.Filter: _filtered,
    nodes.Test: _tested,
}
