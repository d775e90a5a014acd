"""Metrics of predicted probabilities, with scikit-learn's names and numbers.

Every function takes counts of ``events`` and ``others`` per row, so that 0/1 responses, grouped counts and frequency
weights are one case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

FloatArray = NDArray[np.float64]
# scikit-learn's log_loss keeps probabilities this far from 0 and 1.
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of predicted against observed; an event is predicted where p >= threshold."""

    true_negative: float
    false_positive: float
    false_negative: float
    true_positive: float


def confusion(events: FloatArray, others: FloatArray, p: FloatArray, threshold: float) -> Confusion:
    """Count hits and misses at a threshold.

    Examples
    --------
    >>> found = confusion(np.array([1.0, 1, 0]), np.array([0.0, 0, 1]), np.array([0.9, 0.2, 0.4]), 0.5)
    >>> found.true_positive, found.false_negative, found.true_negative
    (1.0, 1.0, 1.0)
    """
    positive = p >= threshold
    return Confusion(
        float(others[~positive].sum()),
        float(others[positive].sum()),
        float(events[~positive].sum()),
        float(events[positive].sum()),
    )


def roc_auc(events: FloatArray, others: FloatArray, p: FloatArray) -> float:
    """Area under the ROC curve: the chance that an event has the larger probability, ties counted half."""
    _, at = np.unique(p, return_inverse=True)
    e = np.bincount(at, weights=events)
    o = np.bincount(at, weights=others)
    pairs = e.sum() * o.sum()
    if pairs == 0:
        return float("nan")
    below = np.cumsum(o) - o
    return float(np.sum(e * (below + 0.5 * o)) / pairs)


def calibration(events: FloatArray, others: FloatArray, p: FloatArray) -> tuple[float, float]:
    """Calibration intercept (slope held at 1; 0 is perfect) and slope (1 is perfect) on the log-odds scale.

    References
    ----------
    Van Calster, B. et al. (2019). BMC Medicine 17, 230.
    """
    line = logit(np.clip(p, EPSILON, 1 - EPSILON))
    total = events + others
    shift = 0.0
    for _ in range(100):
        mu = expit(line + shift)
        step = float(np.sum(events - total * mu) / np.sum(total * mu * (1 - mu)))
        shift += float(np.clip(step, -2, 2))
        if abs(step) < 1e-12:
            break
    X = np.column_stack([np.ones_like(line), line])
    b = np.array([0.0, 1.0])
    for _ in range(100):
        mu = expit(X @ b)
        information = X.T @ (X * (total * mu * (1 - mu))[:, None])
        if np.linalg.cond(information) > 1e14:
            return shift, float("nan")
        step_b = np.linalg.solve(information, X.T @ (events - total * mu))
        b = b + step_b * min(1.0, 2.0 / max(float(np.max(np.abs(step_b))), 1e-300))
        if np.max(np.abs(step_b)) < 1e-12:
            break
    return shift, float(b[1])


def metrics(events: FloatArray, others: FloatArray, p: FloatArray, threshold: float = 0.5) -> dict[str, float]:
    """All metrics of one set of probabilities.

    ``recall`` is the sensitivity. ``log_loss`` and ``brier_score_loss`` are means over observations, lower is better.
    A ratio with nothing below the line is NaN.

    Parameters
    ----------
    events, others : (n,)
        Weighted counts of events and of others in each row.
    p : (n,)
    threshold : float

    Examples
    --------
    >>> found = metrics(np.array([1.0, 0, 1]), np.array([0.0, 1, 0]), np.array([0.8, 0.3, 0.4]))
    >>> round(found["accuracy"], 4), found["roc_auc"], round(found["brier_score_loss"], 4)
    (0.6667, 1.0, 0.1633)
    """
    counts = confusion(events, others, p, threshold)
    tn, fp, fn, tp = counts.true_negative, counts.false_positive, counts.false_negative, counts.true_positive
    total = tn + fp + fn + tp
    recall, specificity, precision = _ratio(tp, tp + fn), _ratio(tn, tn + fp), _ratio(tp, tp + fp)
    inside = np.clip(p, EPSILON, 1 - EPSILON)
    intercept, slope = calibration(events, others, p) if tp + fn > 0 and tn + fp > 0 else (float("nan"),) * 2
    return {
        "accuracy": _ratio(tp + tn, total),
        "balanced_accuracy": (recall + specificity) / 2,
        "recall": recall,
        "specificity": specificity,
        "precision": precision,
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "roc_auc": roc_auc(events, others, p),
        "brier_score_loss": float(np.sum(events * (1 - p) ** 2 + others * p**2) / total),
        "log_loss": float(-np.sum(events * np.log(inside) + others * np.log1p(-inside)) / total),
        "calibration_intercept": intercept,
        "calibration_slope": slope,
    }


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
