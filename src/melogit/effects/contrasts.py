"""Contrasts between margins, adjusted for their number, and measures of the effect of a change of setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from melogit.errors import ModelError
from melogit.inference import critical_value, normal_interval, z_and_p

FloatArray = NDArray[np.float64]
Method = Literal["pairwise", "reference", "adjacent"]


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Differences of margins: of pair (first, second) the first less the second; (k,) each."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    values: FloatArray
    cov: FloatArray
    std_err: FloatArray
    z: FloatArray
    p: FloatArray
    low: FloatArray
    high: FloatArray


def pairs(count: int, method: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which margins are compared: all pairs, each with the first, or each with the one before it."""
    if method not in get_args(Method):
        raise ModelError(
            f"contrast={method!r} is not known. Use 'pairwise' (all pairs), 'reference' (each with the first) or "
            "'adjacent' (each with the one before)."
        )
    if count < 2:
        raise ModelError("A contrast needs at least two margins, and there is one. Ask for several settings by at=.")
    if method == "pairwise":
        second, first = np.triu_indices(count, 1)
        return first, second
    first = np.arange(1, count)
    return first, (np.zeros_like(first) if method == "reference" else first - 1)


def contrasts(values: FloatArray, cov: FloatArray, method: str, adjust: str, level: float) -> Contrasts:
    """Compare margins.

    Parameters
    ----------
    values : (g,)
    cov : (g, g)
    method : {"pairwise", "reference", "adjacent"}
    adjust : {"none", "bonferroni", "sidak", "holm", "scheffe", "tukey"}
        For p-values and intervals together; Holm's intervals are Bonferroni's.
    level : float

    Examples
    --------
    >>> found = contrasts(np.array([0.2, 0.5, 0.4]), np.eye(3) * 0.01, "pairwise", "none", 0.95)
    >>> [round(x, 3) for x in found.values.tolist()]
    [0.3, 0.2, -0.1]
    """
    from melogit.inference import multiple  # scipy.stats takes half a second to import

    first, second = pairs(len(values), method)
    L = np.zeros((len(first), len(values)))
    L[np.arange(len(first)), first] = 1.0
    L[np.arange(len(first)), second] -= 1.0
    difference, joint = L @ values, L @ cov @ L.T
    std_err = np.sqrt(np.maximum(np.diag(joint), 0.0))
    z, _ = z_and_p(difference, std_err)
    critical_value(level)
    if adjust == "tukey" and method != "pairwise":
        raise ModelError("adjust='tukey' is for all pairwise contrasts: contrast='pairwise'.")
    size = {"df": int(np.linalg.matrix_rank(L)), "groups": len(values)}
    p = multiple.adjusted_p(z, adjust, **size)
    critical = multiple.critical_z(level, adjust, len(z), **size)
    low, high = difference - critical * std_err, difference + critical * std_err
    return Contrasts(first, second, difference, joint, std_err, z, p, low, high)


@dataclass(frozen=True, slots=True)
class Effect:
    """One measure of the effect of a change of setting; ``p`` tests that there is none."""

    name: str
    estimate: float
    std_err: float
    low: float
    high: float
    p: float


def effect_measures(values: FloatArray, cov: FloatArray, level: float) -> tuple[Effect, ...]:
    r"""Risk difference, risk ratio, odds ratio and number needed to treat of two probabilities.

    Parameters
    ----------
    values : (2,)
        Probabilities without and with the change.
    cov : (2, 2)
    level : float

    Returns
    -------
    tuple of Effect
        Ratios have intervals symmetric in the logarithm. The number needed to treat is 1 / risk difference; where
        the interval of the difference holds 0, that of the number runs through infinity: ``low`` > ``high`` then
        stands for all numbers above ``low`` and all below ``high`` (Altman 1998, BMJ 317, 1309-1312).

    Examples
    --------
    >>> found = effect_measures(np.array([0.2, 0.4]), np.eye(2) * 1e-4, 0.95)
    >>> [(effect.name, round(effect.estimate, 3)) for effect in found]
    [('risk difference', 0.2), ('risk ratio', 2.0), ('odds ratio', 2.667), ('number needed to treat', 5.0)]
    """
    a, b = values
    out = []
    difference = b - a
    g = np.array([-1.0, 1.0])
    se = np.sqrt(g @ cov @ g)
    low, high = (float(x) for x in normal_interval(difference, se, level))
    p = float(z_and_p(difference, se)[1])
    out.append(Effect("risk difference", float(difference), float(se), low, high, p))
    with np.errstate(divide="ignore", invalid="ignore"):  # probabilities of 0 and 1, of infinite coefficients
        ratios = (
            ("risk ratio", np.log(b / a), np.array([-1 / a, 1 / b])),
            ("odds ratio", np.log(b / (1 - b) * (1 - a) / a), np.array([-1 / (a * (1 - a)), 1 / (b * (1 - b))])),
        )
    for name, log, gradient in ratios:
        spread = np.sqrt(gradient @ cov @ gradient if np.isfinite(gradient).all() else np.float64(np.nan))
        ratio = float(np.exp(log))
        low_ratio, high_ratio = (float(np.exp(x)) for x in normal_interval(log, spread, level))
        p_ratio = float(z_and_p(log, spread)[1])
        out.append(Effect(name, ratio, ratio * float(spread), low_ratio, high_ratio, p_ratio))
    with np.errstate(divide="ignore"):
        number = float(1 / difference) if difference else np.inf
        ends = 1 / np.array([high, low])
    out.append(Effect("number needed to treat", number, float(se / difference**2), float(ends[0]), float(ends[1]), p))
    return tuple(out)
