"""What a template may consist of: Jinja's expressions without calls, powers and private names."""

import functools
import inspect
import math
from typing import Any, Final, TypeAlias

from jinja2 import Environment, TemplateSyntaxError, nodes

from automation.templates.filters import FILTERS, INTEGERS, TESTS, FaultError

MAX_SOURCE = 4096  # characters of a template
MAX_NODES = 300
MAX_NESTING = 40
_SHOWN = 80  # characters of a template in a message

Parts: TypeAlias = tuple[str | nodes.Expr, ...]

# It only parses. No stored text contains NUL, so its markers of statements and comments never appear.
_JINJA: Final = Environment(  # noqa: S701
    block_start_string="\0{%",
    block_end_string="%}\0",
    comment_start_string="\0{#",
    comment_end_string="#}\0",
    keep_trailing_newline=True,
)

_ALLOWED: Final = (
    nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.List, nodes.Tuple, nodes.Dict,
    nodes.Pair, nodes.Filter, nodes.Test, nodes.Keyword, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.CondExpr, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos,
    nodes.Concat,
)  # fmt: skip
_REFUSED: Final[dict[type[nodes.Node], str]] = {
    nodes.Call: "nothing can be called; use a filter",
    nodes.Pow: "** is not allowed",
}


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Parts:
    """The texts and expressions that a template consists of, in order.

    Raises:
        FaultError: it cannot be parsed, is too large, or uses what is not allowed.
    """
    if len(text) > MAX_SOURCE:
        raise FaultError(f"it has {len(text)} characters; {MAX_SOURCE} are allowed")
    try:
        tree = _JINJA.parse(text)
    except TemplateSyntaxError as error:
        raise FaultError(spelled(error.message or "it cannot be parsed")) from None
    except RecursionError:
        raise FaultError("it nests too deeply") from None
    parts: list[str | nodes.Expr] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            raise FaultError("it contains NUL")
        parts += [part.data if isinstance(part, nodes.TemplateData) else part for part in output.nodes]
    _check_nodes([part for part in parts if not isinstance(part, str)])
    return tuple(parts)


def spelled(text: str) -> str:
    """`text` for a message: one line of at most 80 characters, everything that cannot be seen spelled out."""
    text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _check_nodes(expressions: list[nodes.Expr]) -> None:
    waiting: list[tuple[nodes.Node, int]] = [(expression, 1) for expression in reversed(expressions)]
    count = 0
    while waiting:
        node, level = waiting.pop()
        count += 1
        if count > MAX_NODES or level > MAX_NESTING:
            raise FaultError(f"it is too large; {MAX_NODES} parts, nested {MAX_NESTING} deep, are allowed")
        _check_node(node)
        waiting += [(child, level + 1) for child in node.iter_child_nodes()]


def _check_node(node: nodes.Node) -> None:
    if not isinstance(node, _ALLOWED):
        raise FaultError(_REFUSED.get(type(node), f"{type(node).__name__} is not allowed"))
    if isinstance(node, nodes.Const):
        _check_constant(node.value)
    name = node.name if isinstance(node, nodes.Name) else node.attr if isinstance(node, nodes.Getattr) else ""
    if name.startswith("__"):
        raise FaultError(f"{spelled(name)} is private")
    if isinstance(node, (nodes.Filter, nodes.Test)):
        _check_call(node, FILTERS if isinstance(node, nodes.Filter) else TESTS)


def _check_constant(value: Any) -> None:
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= char <= "\udfff" for char in value)):
        raise FaultError("a text in it has NUL or half a surrogate pair, which cannot be stored")
    if isinstance(value, int) and value not in INTEGERS:
        raise FaultError("a number in it takes more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise FaultError("a number in it is too large")


def _check_call(node: nodes.Filter | nodes.Test, known: dict[str, Any]) -> None:
    word = type(node).__name__.lower()
    if node.name not in known:
        raise FaultError(f"there is no {word} {spelled(node.name)}; there are {', '.join(sorted(known))}")
    if node.dyn_args or node.dyn_kwargs:
        raise FaultError(f"the {word} {node.name} takes its arguments one by one")
    try:
        arguments = [None for _ in node.args]
        inspect.signature(known[node.name]).bind(None, *arguments, **{str(pair.key): None for pair in node.kwargs})
    except TypeError as error:
        raise FaultError(f"the {word} {node.name}: {spelled(str(error))}") from None
