"""How numbers are written in tables."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Write seven significant digits, never more than seven decimals; ``.`` for undefined, ``+Inf`` for infinite.

    Examples
    --------
    >>> number(4.0931523), number(-0.05678531), number(float("nan")), number(float("inf")), number(1.5e-7)
    ('4.093152', '-0.0567853', '.', '+Inf', '1.5000e-07')
    """
    if math.isnan(value):
        return "."
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-4 or size >= 1e7:
        return f"{value:.4e}"
    whole_digits = len(str(int(size))) if size >= 1 else 0
    return f"{value:.{7 - whole_digits}f}"


def probability(value: float, decimals: int = 3) -> str:
    """Write a p-value with three decimals (four in headers); ``.`` for undefined.

    Examples
    --------
    >>> probability(0.03471), probability(0.0, 4)
    ('0.035', '0.0000')
    """
    return "." if math.isnan(value) else f"{value:.{decimals}f}"


def statistic(value: float) -> str:
    """Write a test statistic with two decimals; ``.`` for undefined.

    Examples
    --------
    >>> statistic(395.4791)
    '395.48'
    """
    return "." if math.isnan(value) else f"{value:.2f}"


def count(value: float, decimals: int = 0) -> str:
    """Write a count with thousands separators; decimals only where the value is not whole.

    Examples
    --------
    >>> count(8525), count(20.946, 1), count(20.0, 1), count(2.5)
    ('8,525', '20.9', '20.0', '2.5')
    """
    if decimals == 0 and value != round(value):
        return f"{value:,.7g}"
    return f"{value:,.{decimals}f}"


def brief(value: float) -> str:
    """Write an error bound for a sentence: two digits, or one where it is below 0.01.

    Examples
    --------
    >>> brief(0.00031), brief(2.1e-5), brief(-0.2085), brief(18.2)
    ('0.0003', '0.00002', '-0.21', '18')
    """
    if value == 0:
        return "0"
    if abs(value) < 1e-6:
        return f"{value:.0e}".replace("e-0", "e-")
    digits = 1 if abs(value) < 0.01 else 2
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"
