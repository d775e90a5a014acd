"""What an expression inside a formula may contain, and the evaluation of the plain arithmetic ones.

Formulas may come from strangers (a web form, a saved model), and formulaic evaluates Python inside them. So
every expression is walked here first: data columns, the functions below with their own options, numbers,
text, arithmetic and comparisons. Nothing else: no attributes, no indexing, no other calls.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from formulaic.utils.code import sanitize_variable_names

from melogit.errors import FormulaError
from melogit.formula.tokens import formula_error

# Elementwise functions: the same for every row, so they need no memory of the data they were fitted to.
ELEMENTWISE: dict[str, Callable] = {
    "I": lambda x: x,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "floor": np.floor,
    "ceil": np.ceil,
    "sign": np.sign,
}

# formulaic's transforms and the options that each takes.
TRANSFORMS: dict[str, frozenset[str]] = {
    "C": frozenset(("contrasts", "levels")),
    "poly": frozenset(("degree", "raw")),
    "bs": frozenset(("df", "knots", "degree", "include_intercept", "lower_bound", "upper_bound", "extrapolation")),
    "cr": frozenset(("df", "knots", "lower_bound", "upper_bound", "constraints", "extrapolation")),
    "cs": frozenset(("df", "knots", "lower_bound", "upper_bound", "constraints", "extrapolation")),
    "cc": frozenset(("df", "knots", "lower_bound", "upper_bound", "constraints", "extrapolation")),
    "center": frozenset(),
    "scale": frozenset(("center", "scale", "ddof")),
    "standardize": frozenset(("center", "rescale", "ddof")),
}

_CONTRASTS: dict[str, frozenset[str]] = {
    "Treatment": frozenset(("reference",)),
    "Sum": frozenset(),
    "Helmert": frozenset(("reverse", "scale")),
    "Diff": frozenset(("backward",)),
    "Poly": frozenset(("scores",)),
    "contr.treatment": frozenset(("base",)),
    "contr.SAS": frozenset(("base",)),
    "contr.sum": frozenset(),
    "contr.helmert": frozenset(("reverse", "scale")),
    "contr.diff": frozenset(("backward",)),
    "contr.poly": frozenset(("scores",)),
}

# What users of R and numpy write, and what it is called here.
INSTEAD = {"factor": "C", "as.factor": "C", "ns": "cr", "rcs": "cr", "log1": "log1p", "ln": "log", "pow": "I"}

CONTRAST_NAMES = tuple(dict.fromkeys(name.partition(".")[0] for name in _CONTRASTS))

_BINARY: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
_UNARY: dict[type, Callable] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert}
_COMPARE: dict[type, Callable] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

MAX_NODES = 1_000
MAX_NUMBER = 1_000  # of an option such as df= or degree=


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its tree, and the data columns that stand in it (in order, by tree name)."""

    text: str
    start: int
    tree: ast.expr
    columns: Mapping[str, str]  # name in the tree -> data column (they differ for backticked names)


def check_expression(formula: str, text: str, start: int, *, transforms: bool = True) -> Expression:
    """Parse an expression and refuse everything that is not on the list.

    Parameters
    ----------
    formula : str
        The whole formula, for the message.
    text : str
        The expression exactly as it will be evaluated.
    start : int
        Its place in the formula.
    transforms : bool
        Whether formulaic's transforms (``C``, ``poly``, ``bs`` ...) may be used besides elementwise functions.

    Returns
    -------
    Expression

    Raises
    ------
    FormulaError
        With a caret under the offending piece.
    """
    aliases: dict[str, str] = {}
    try:
        # The text goes through the same renaming of backticked names as in formulaic, so that the tree
        # checked here is the tree evaluated there.
        tree = ast.parse(sanitize_variable_names(text.strip(), {}, aliases), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise formula_error(formula, start, f"'{_short(text.strip())}' cannot be read as an expression.") from error
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise formula_error(formula, start, f"the expression '{_short(text.strip())}' is too long.")
    walker = _Walker(formula, start, aliases, transforms)
    walker.value(tree)
    return Expression(text.strip(), start, tree, walker.columns)


def evaluate(expression: Expression, values: Mapping[str, Any]) -> Any:
    """Compute an elementwise expression from the values of its columns (no transforms)."""
    columns = expression.columns

    def compute(node: ast.expr) -> Any:
        match node:
            case ast.Name():
                return values[columns[node.id]]
            case ast.Constant():
                return node.value
            case ast.BinOp():
                return _BINARY[type(node.op)](compute(node.left), compute(node.right))
            case ast.UnaryOp():
                return _UNARY[type(node.op)](compute(node.operand))
            case ast.Compare():
                return _COMPARE[type(node.ops[0])](compute(node.left), compute(node.comparators[0]))
            case ast.Call(func=ast.Name(id=name)):
                return ELEMENTWISE[name](compute(node.args[0]))
        raise AssertionError(f"unchecked node {ast.dump(node)}")

    with np.errstate(all="ignore"):  # what is not finite is reported by name and row afterwards
        return compute(expression.tree)


class _Walker:
    """Walks one tree; collects the columns."""

    def __init__(self, formula: str, start: int, aliases: Mapping[str, str], transforms: bool) -> None:
        self.formula = formula
        self.start = start
        self.aliases = aliases
        self.transforms = transforms
        self.columns: dict[str, str] = {}

    def error(self, node: ast.AST, message: str) -> FormulaError:
        """Point at the node: by its first word, because formulaic respaces expressions."""
        piece = ast.unparse(node).lstrip("([{-+~ ")
        word = piece[: next((i for i, c in enumerate(piece) if not (c.isalnum() or c in "_'\"")), len(piece))]
        place = self.formula.find(word, self.start) if word else -1
        return formula_error(self.formula, place if place >= 0 else self.start, message)

    def value(self, node: ast.AST) -> None:
        """Accept an expression that stands for one value per row."""
        match node:
            case ast.Name():
                if node.id in self.aliases or not node.id.startswith("__"):
                    self.columns[node.id] = self.aliases.get(node.id, node.id)
                    return
                raise self.error(node, f"'{node.id}' is not allowed in a formula.")
            case ast.Constant():
                if isinstance(node.value, (bool, int, float, str)):
                    return
            case ast.BinOp() if type(node.op) in _BINARY:
                self.binary(node)
                return
            case ast.UnaryOp() if type(node.op) in _UNARY:
                self.value(node.operand)
                return
            case ast.Compare() if len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
                self.value(node.left)
                self.value(node.comparators[0])
                return
            case ast.Call():
                self.call(node)
                return
        raise self.error(node, _refusal(node))

    def binary(self, node: ast.BinOp) -> None:
        for side in (node.left, node.right):
            if isinstance(side, ast.Constant) and isinstance(side.value, str):
                raise self.error(node, "text can be compared (==) but not calculated with.")
            self.value(side)
        # 9**9**9 would run for ever in Python's exact integers.
        if isinstance(node.op, ast.Pow) and not any(isinstance(n, ast.Name) for n in ast.walk(node.left)):
            raise self.error(node, "the base of a power must hold a column.")

    def call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name in ELEMENTWISE and name not in self.aliases:
            if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
                raise self.error(node, f"{name}() takes one expression.")
            self.value(node.args[0])
        elif name in TRANSFORMS and name not in self.aliases and self.transforms:
            self.transform(node, name)
        else:
            raise self.error(node, self.unknown(ast.unparse(node.func)))

    def unknown(self, name: str) -> str:
        hint = INSTEAD.get(name) or (name[3:] if name.startswith("np.") and name[3:] in ELEMENTWISE else None)
        if hint is not None:
            return f"'{_short(name)}' is not a function of formulas; write {hint}() instead."
        allowed = sorted(ELEMENTWISE) + (sorted(TRANSFORMS) if self.transforms else [])
        where = "a formula" if self.transforms else "this part of a formula"
        return (
            f"'{_short(name)}' is not a function that {where} may use. Allowed: {', '.join(allowed)}. "
            "For anything else make a new column in the data first."
        )

    def transform(self, node: ast.Call, name: str) -> None:
        if not node.args:
            raise self.error(node, f"{name}() needs a column.")
        self.value(node.args[0])
        for argument in node.args[1:]:
            self.option(argument, name)
        for keyword in node.keywords:
            if keyword.arg not in TRANSFORMS[name]:
                allowed = ", ".join(sorted(TRANSFORMS[name])) or "none"
                raise self.error(keyword.value, f"{name}() has no option '{keyword.arg}'. Its options: {allowed}.")
            self.option(keyword.value, name)

    def option(self, node: ast.AST, name: str) -> None:
        """Accept a plain value, a list of them, or (in ``C``) a contrast."""
        match node:
            case ast.Constant():
                value = node.value
                if isinstance(value, (bool, str)) or value is None:
                    return
                # Counts such as df= and degree= decide how many columns are made.
                if isinstance(value, float) or (isinstance(value, int) and (name == "C" or value <= MAX_NUMBER)):
                    return
                if isinstance(value, int):
                    raise self.error(node, f"{value} is too large an option for {name}().")
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                return self.option(node.operand, name)
            case ast.List() | ast.Tuple():
                for element in node.elts:
                    self.option(element, name)
                return None
            case ast.Name() | ast.Attribute() if name == "C" and ast.unparse(node) in _CONTRASTS:
                return None
            case ast.Call() if name == "C" and ast.unparse(node.func) in _CONTRASTS:
                contrast = ast.unparse(node.func)
                for argument in node.args:
                    self.option(argument, name)
                for keyword in node.keywords:
                    if keyword.arg not in _CONTRASTS[contrast]:
                        raise self.error(keyword.value, f"{contrast}() has no option '{keyword.arg}'.")
                    self.option(keyword.value, name)
                return None
        raise self.error(node, f"an option of {name}() is a number, a text or a list of them.")


def _refusal(node: ast.AST) -> str:
    match node:
        case ast.Attribute():
            return (
                f"'{_short(ast.unparse(node))}' is not allowed: a formula has no attributes. "
                "Put a column name that holds a dot in backticks."
            )
        case ast.Subscript():
            return f"'{_short(ast.unparse(node))}' is not allowed: a formula has no indexing."
        case ast.BoolOp():
            return "use & and | with brackets instead of 'and' and 'or'."
        case ast.Compare():
            return "compare two values at a time: (x > 1) & (x < 5)."
    return f"'{_short(ast.unparse(node))}' is not allowed in a formula."


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
