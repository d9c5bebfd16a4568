"""Formulas over the music: `2*bass - 0.5`, read and evaluated without ever running a user's Python.

Two fences: the syntax tree may hold only what `_ALLOWED` lists (so no attributes, strings, lambdas, subscripts
or comprehensions), and simpleeval evaluates it with our own names, functions and operators only. All arithmetic
is in floats, so that no power can grow beyond what fits into eight bytes.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from simpleeval import SimpleEval

from metamusic.errors import SettingsError

VARIABLES = ("time", "loudness", "bass", "mid", "treble", "onset", "beat")
LARGEST = 10.0              # a formula's value is clamped to -LARGEST..LARGEST, as weights are
LONGEST = 200               # characters
DEEPEST = 60                # nested steps: simpleeval recurses, and Python's stack is finite

FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "sin": math.sin, "cos": math.cos, "abs": abs, "sqrt": math.sqrt}
CONSTANTS = {"pi": math.pi}


def _floats(operation: Callable[[float, float], float]) -> Callable[[float, float], float]:
    """The same operation on floats: whole numbers of Python grow without bound."""
    return lambda left, right: operation(float(left), float(right))


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _floats(operator.add), ast.Sub: _floats(operator.sub), ast.Mult: _floats(operator.mul),
    ast.Div: _floats(operator.truediv), ast.FloorDiv: _floats(operator.floordiv), ast.Mod: _floats(operator.mod),
    ast.Pow: _floats(math.pow), ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne}
_ALLOWED = (*_OPERATORS, ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.And, ast.Or,
            ast.IfExp, ast.Call, ast.Name, ast.Load, ast.Constant)
_UNDEFINED = (ZeroDivisionError, OverflowError, ValueError)  # ValueError: sqrt(-1), sin(inf), (-1)**0.5
_CURE = (f"It may use {', '.join(VARIABLES)}, {', '.join(CONSTANTS)}, numbers, + - * / // % **, comparisons, "
         f"`a if b else c`, and {', '.join(FUNCTIONS)}: for example (2*bass - 0.5).")
# Where a formula is tried out: silence, everything at its loudest, a moment in between, a late and uneven one.
_PROBES = (dict.fromkeys(VARIABLES, 0.0), dict.fromkeys(VARIABLES, 1.0), dict.fromkeys(VARIABLES, 0.5),
           {"time": 7200.0, "loudness": 0.4, "bass": 0.9, "mid": 0.3, "treble": 0.1, "onset": 0.7, "beat": 0.2})


def check_formula(text: str) -> None:
    """Refuse, with a SettingsError, what is no formula or can never give a number.

    text: at most 200 characters, with or without round brackets around it. Refused are unknown names, any syntax
    but arithmetic, wrong numbers of arguments, what overflows, and what is undefined (as 1/0) at every moment it
    is tried at. Undefined at some moments only, as 1/bass in silence, is accepted: see `evaluate`.
    """
    tree = _parse(text)
    values = [_probe(text, tree, variables) for variables in _PROBES]
    if not any(math.isfinite(value) for value in values):
        raise SettingsError(f"The formula {text!r} gives no number at any moment.", _CURE)


def evaluate(formula: str, variables: Mapping[str, float]) -> float:
    """The formula's value at a moment, finite and clamped to -10..10.

    variables: a value for each of VARIABLES (KeyError if one is missing). Where the formula is undefined or not
    finite (a division by zero in a quiet moment, the root of a negative number) its value is 0: a single moment
    must not end a render of hours. Raises SettingsError for what `check_formula` would refuse as no formula.
    """
    try:
        value = _value(formula, _parse(formula), variables)
    except _UNDEFINED:
        return 0.0
    return min(max(value, -LARGEST), LARGEST) if math.isfinite(value) else 0.0


def _probe(text: str, tree: ast.Expression, variables: Mapping[str, float]) -> float:
    """The value at a moment, nan where it is undefined; SettingsError where it is too large for a float."""
    try:
        return _value(text, tree, variables)
    except OverflowError as error:
        raise SettingsError(f"The formula {text!r} becomes too large to compute.", _CURE) from error
    except _UNDEFINED:
        return math.nan


def _value(text: str, tree: ast.Expression, variables: Mapping[str, float]) -> float:
    names = {**CONSTANTS, **{name: float(variables[name]) for name in VARIABLES}}
    return float(SimpleEval(operators=_OPERATORS, functions=FUNCTIONS, names=names).eval(text, tree.body))


@lru_cache(maxsize=256)  # a render evaluates the same few formulas at every frame
def _parse(text: str) -> ast.Expression:
    """The syntax tree of a formula, nothing in it but arithmetic over known names."""
    if len(text) > LONGEST:
        raise SettingsError(f"A formula has at most {LONGEST} characters; this one has {len(text)}.", _CURE)
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise SettingsError(f"The formula {text!r} cannot be read.", _CURE) from error
    if _depth(tree) > DEEPEST:
        raise SettingsError(f"The formula {text!r} is nested too deeply.", _CURE)
    for node in ast.walk(tree):
        if complaint := _complaint(node):
            raise SettingsError(f"The formula {text!r} {complaint}.", _CURE)
    return tree


def _depth(tree: ast.AST) -> int:
    """How many levels the tree has; a loop, because a deep tree is what is looked for."""
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
    return depth


def _complaint(node: ast.AST) -> str:
    """What is wrong with one node of the tree, or nothing."""
    if not isinstance(node, _ALLOWED):
        return f"holds what a formula cannot have ({type(node).__name__})"
    if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
        return f"holds {node.value!r}, which is no number"
    if isinstance(node, ast.Name) and node.id not in {*VARIABLES, *CONSTANTS, *FUNCTIONS}:
        return f"names {node.id!r}, which is unknown"
    if any(isinstance(child, ast.Name) and child.id in FUNCTIONS for child in _operands(node)):
        return "names a function without calling it"
    return _wrong_call(node) if isinstance(node, ast.Call) else ""


def _operands(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that must be values: all but the name that a call calls."""
    return [child for child in ast.iter_child_nodes(node) if not (isinstance(node, ast.Call) and child is node.func)]


def _wrong_call(node: ast.Call) -> str:
    """What is wrong with a call; checked here because a branch not taken when tried out would fail later."""
    if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        return "calls what is no function"
    if node.keywords:
        return "names an argument, which is not possible"
    several = node.func.id in ("min", "max")
    if len(node.args) < 2 if several else len(node.args) != 1:
        return f"gives {node.func.id} {len(node.args)} values instead of {'two or more' if several else 'one'}"
    return ""
