"""Small words of the checks: numbers in sentences, lists of names."""

from __future__ import annotations

from collections.abc import Sequence

from melogit.design import Design


def listed(names: Sequence[str], most: int = 5) -> str:
    """``a, b and c``; with more than ``most`` names, how many others there are.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2)
    ('a', 'a, b and c', 'a, b and 2 others')
    """
    shown = [str(name) for name in names[:most]]
    rest = len(names) - len(shown)
    if rest:
        shown.append(f"{rest} other{'s' if rest > 1 else ''}")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def data_column(design: Design, level: int) -> str:
    """The data column that names the groups of a level: ``DID`` for ``HID:DID``."""
    factor = design.terms[level].factor
    return factor.columns[-1] if factor.columns else factor.name


def share(value: float) -> str:
    """A share in percent.

    Examples
    --------
    >>> share(0.0312), share(0.5)
    ('3.1 %', '50 %')
    """
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"
