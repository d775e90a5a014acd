r"""Residuals of binomial rows.

With successes y of n trials and fitted probability mu:

- response: y/n - mu;
- pearson: (y - n mu) / sqrt(n mu (1 - mu));
- deviance: signed root of the row's part of the deviance (McCullagh & Nelder 1989, section 2.4.3);
- anscombe: (A(y/n) - A(mu)) sqrt(n) / (mu (1 - mu))^(1/6) with A(x) = B(x; 2/3, 2/3), the incomplete beta function
  (Cox & Snell 1968, J. R. Statist. Soc. B 30, 248-275; Stata's ``predict, anscombe``);
- quantile: normal quantile of a uniform draw between P(Y < y) and P(Y <= y) (Dunn & Smyth 1996, J. Comput. Graph.
  Stat. 5, 236-244): standard normal if the model is right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, beta, betainc, ndtri, xlogy

from melogit.errors import ModelError

FloatArray = NDArray[np.float64]
KINDS = ("response", "pearson", "deviance", "anscombe", "quantile")


def residuals(y: FloatArray, trials: FloatArray, mu: FloatArray, kind: str, seed: int | None) -> FloatArray:
    """Compute one residual per row, (n,); NaN for rows with zero trials.

    Parameters
    ----------
    y, trials : (n,)
    mu : (n,)
        Fitted probabilities.
    kind : {"response", "pearson", "deviance", "anscombe", "quantile"}
    seed : int or None
        For ``quantile``, whose residuals are drawn.

    Examples
    --------
    >>> residuals(np.array([1.0]), np.array([1.0]), np.array([0.8]), "pearson", None).round(6).tolist()
    [0.5]
    """
    if kind not in KINDS:
        raise ModelError(f"kind={kind!r} is not a kind of residual. Use one of {', '.join(map(repr, KINDS))}.")
    with np.errstate(divide="ignore", invalid="ignore"):
        share = y / trials
        if kind == "response":
            return share - mu
        if kind == "pearson":
            return (y - trials * mu) / np.sqrt(trials * mu * (1 - mu))
        if kind == "deviance":
            part = xlogy(y, share / mu) + xlogy(trials - y, (1 - share) / (1 - mu))
            return np.where(trials > 0, np.sign(share - mu) * np.sqrt(2 * np.maximum(part, 0.0)), np.nan)
        if kind == "anscombe":
            size = beta(2 / 3, 2 / 3) * np.sqrt(trials)
            return size * (betainc(2 / 3, 2 / 3, share) - betainc(2 / 3, 2 / 3, mu)) / (mu * (1 - mu)) ** (1 / 6)
        count = trials.astype(np.int64)
        below = np.where(y > 0, bdtr(np.maximum(y - 1, 0), count, mu), 0.0)
        upto = bdtr(y, count, mu)
        uniform = np.random.default_rng(seed).random(len(y))
        draw = below + uniform * (upto - below)
        return np.where(trials > 0, ndtri(np.clip(draw, 1e-300, 1 - 1e-16)), np.nan)
