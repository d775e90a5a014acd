"""Fits put together by hand, so that tables can be checked without fitting anything. All numbers are invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from melogit.design import Block, Wording
from melogit.fit.types import Fit, Integration, Status, TermFit, TraceRow


def covariance(std_err, correlation: float = 0.1):
    """A covariance matrix with the given standard errors and one correlation everywhere; NaN stays NaN."""
    std_err = np.asarray(std_err, float)
    matrix = np.outer(std_err, std_err) * correlation
    np.fill_diagonal(matrix, std_err**2)
    return matrix


def invented_term(name="doctor", names=("Intercept",), blocks=None, groups=4, sigma=None) -> TermFit:
    q = len(names)
    blocks = blocks or (Block(0, q, "unstructured" if q > 1 else "independent"),)
    sigma = np.eye(q) if sigma is None else np.asarray(sigma, float)
    parameters = []
    for block in blocks:
        columns = names[block.start : block.start + block.size]
        if block.structure in ("identity", "exchangeable"):
            parameters.append(f"{name}:var({','.join(columns)})")
            parameters += [f"{name}:cov({','.join(columns)})"] * (block.structure == "exchangeable")
            continue
        for i, column in enumerate(columns):
            parameters.append(f"{name}:var({column})")
            others = columns[i + 1 :] if block.structure == "unstructured" else ()
            parameters += [f"{name}:cov({column},{other})" for other in others]
    values = np.linspace(-1.25, 1.5, groups * q).reshape(groups, q)
    return TermFit(
        name=name,
        names=tuple(names),
        blocks=tuple(blocks),
        levels=np.array([*(f"{name[:1]}{i}" for i in range(groups)), None], dtype=object)[:-1],
        Sigma=sigma,
        parameters=tuple(parameters),
        means=values,
        modes=values / 3,
        std_err=np.full((groups, q), 0.3),
        group_sizes=np.arange(2.0, 2.0 + groups),
    )


def invented_fit(terms=None, variances=(2.25,), variance_se=(0.5,), **changes) -> Fit:
    """cured on age and three stages of a disease, patients in doctors."""
    terms = terms or (invented_term(),)
    fixed = ("Intercept", "age", "stage[II]", "stage[III]")
    names = fixed + tuple(name for term in terms for name in term.parameters)
    params = np.array([-2.056954, -0.0567853, -0.4139656, -1.003766, *variances])
    std_err = np.array([0.5198763, 0.0115183, 0.0757585, 0.0982874, *variance_se])
    sizes = float(terms[0].group_sizes.sum())
    fit = Fit(
        names=names,
        n_fixed=4,
        params=params,
        cov=covariance(std_err),
        loglik=-3689.40796,
        loglik_fixed_only=-4907.2771,
        df_model=len(names),
        n_obs=sizes,
        terms=terms,
        status=Status.CONVERGED,
        trace=(
            TraceRow("fixed", 0, -4907.2771, 3.5, 1.0, 0.001),
            TraceRow("full", 1, -3689.40796, 1e-12, 1.0, 0.004),
        ),
        integration=Integration("mvaghermite", (7,), -0.2085, 0.081, (15,), False, 1e-3),
        wording=Wording(
            formula="cured ~ age + stage + (1 | doctor)",
            response="cured",
            event="yes",
            base_levels=(("stage", "I"),),
            rows_read=17,
            rows_used=14,
            rows_missing=(("age", 2), ("doctor", 1)),
        ),
        messages=(),
        theta=np.sqrt(np.abs(np.asarray(variances, float))),
        cov_theta=covariance(std_err),
        seconds=0.0043,
    )
    return replace(fit, **changes)


def two_level_fit(**changes) -> Fit:
    """Patients in doctors in hospitals, with a random slope at the doctors."""
    terms = (
        replace(invented_term("hospital", groups=2), group_sizes=np.array([6.0, 8.0])),
        invented_term("hospital:doctor", ("age", "Intercept"), groups=4, sigma=[[0.25, 0.2], [0.2, 4.0]]),
    )
    fit = invented_fit(terms, (0.5, 0.25, 0.2, 4.0), (0.2, 0.05, 0.1, 0.4), **changes)
    return replace(fit, integration=replace(fit.integration, points=(15, 9), check_points=(31, 19)))
