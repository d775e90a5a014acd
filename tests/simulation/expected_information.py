"""Power by enumeration, independent of the package: exact expected information of a planned trial.

With random intercepts only, the number of events among the treated and the untreated rows of a cluster says all. Its
probability is a one-dimensional integral; summing score times score over every possible pair of numbers gives the
expected information of a cluster, hence the standard error that the estimate has with many clusters.
"""

import numpy as np
from scipy.special import expit, gammaln, ndtr, ndtri


def _log_choose(n):
    k = np.arange(n + 1)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def cluster_probabilities(params, untreated, treated, nodes=400):
    """P(events among untreated, events among treated) of one cluster, (untreated + 1, treated + 1)."""
    intercept, effect, variance = params
    z = np.linspace(-8.5, 8.5, nodes)
    weight = np.exp(-z * z / 2)
    weight /= weight.sum()
    eta = intercept + np.sqrt(variance) * z
    out = np.zeros((untreated + 1, treated + 1))
    for w, low, high in zip(weight, eta, eta + effect, strict=True):
        parts = []
        for n, at in ((untreated, low), (treated, high)):
            k = np.arange(n + 1)
            parts.append(np.exp(_log_choose(n) + k * np.log(expit(at)) + (n - k) * np.log(expit(-at))))
        out += w * np.outer(*parts)
    return out


def information(params, untreated, treated, step=1e-4):
    params = np.array(params, dtype=float)
    p = cluster_probabilities(params, untreated, treated)
    scores = []
    for j in range(3):
        shift = np.zeros(3)
        shift[j] = step
        up = cluster_probabilities(params + shift, untreated, treated)
        down = cluster_probabilities(params - shift, untreated, treated)
        scores.append((np.log(up) - np.log(down)) / (2 * step))
    return np.array([[np.sum(p * a * b) for a in scores] for b in scores])


def power_of_trial(params, clusters, size, treatment, alpha=0.05):
    """Large-sample power of the two-sided Wald test: half of the clusters, or of the rows of each, treated."""
    if treatment == "cluster":
        total = clusters / 2 * (information(params, size, 0) + information(params, 0, size))
    else:
        total = clusters * information(params, size - size // 2, size // 2)
    std_err = np.sqrt(np.linalg.inv(total)[1, 1])
    z = ndtri(1 - alpha / 2)
    return ndtr(params[1] / std_err - z) + ndtr(-params[1] / std_err - z), std_err
