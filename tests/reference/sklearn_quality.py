"""Records scikit-learn's metrics for tests/inference/test_quality.py.

Run from this folder with scikit-learn installed: python sklearn_quality.py > sklearn_quality.json
"""

import json

import numpy as np
import sklearn
from sklearn import metrics as m
from sklearn.linear_model import LogisticRegression

# Formula-made: no random numbers. Ties, a probability of exactly 0 and of exactly 1, integer weights.
i = np.arange(60)
p = np.round(1 / (1 + np.exp(-3 * np.sin(1.7 * i))), 2)
p[5], p[7] = 1.0, 0.0
y = ((np.sin(12.9898 * i) * 43758.5453) % 1 < 0.25 + 0.5 * p).astype(int)
y[5], y[7] = 1, 0
w = 1 + i % 3


def record(w):
    said = (p >= 0.5).astype(int)
    inside = np.clip(p, np.finfo(float).eps, 1 - np.finfo(float).eps)
    line = np.log(inside / (1 - inside))[:, None]
    slope = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(line, y, sample_weight=w).coef_[0, 0]
    return {
        "accuracy": m.accuracy_score(y, said, sample_weight=w),
        "balanced_accuracy": m.balanced_accuracy_score(y, said, sample_weight=w),
        "recall": m.recall_score(y, said, sample_weight=w),
        "specificity": m.recall_score(y, said, pos_label=0, sample_weight=w),
        "precision": m.precision_score(y, said, sample_weight=w),
        "f1": m.f1_score(y, said, sample_weight=w),
        "roc_auc": m.roc_auc_score(y, p, sample_weight=w),
        "brier_score_loss": m.brier_score_loss(y, p, sample_weight=w),
        "log_loss": m.log_loss(y, p, sample_weight=w),
        "calibration_slope": slope,
        "confusion_matrix": m.confusion_matrix(y, said, sample_weight=w).tolist(),
    }


out = {"scikit-learn": sklearn.__version__, "p": p.tolist(), "y": y.tolist(), "w": w.tolist()}
out["plain"], out["weighted"] = record(np.ones(60, dtype=int)), record(w)
print(json.dumps(out, indent=1))
