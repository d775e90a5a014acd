"""Laws of the nested likelihood at given parameters, on random small models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln

import oracle
from melogit import kernel
from melogit.design import Design
from melogit.likelihood.arrange import arrange
from melogit.likelihood.nested import evaluate, hermite_rules, mode_nodes

SHAPES = [(1,), (2,), (3,), (1, 1), (2, 1), (1, 2), (1, 1, 1)]


@st.composite
def models(draw, **fixed):
    """A design, and parameters (beta, lower triangles of Lambda)."""
    kind = {name: draw(st.booleans()) for name in ("binomial", "weights", "offset")} | fixed
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    effects = draw(st.sampled_from(SHAPES))
    design, beta, Lambdas = oracle.random_design(
        rng, effects, tops=draw(st.integers(1, 6)), children=3, rows=draw(st.integers(1, 6)), p=2, **kind
    )
    return design, oracle.pack(beta, Lambdas), rng


def at_modes(design: Design, x: np.ndarray, points: int, **options):
    """Engine's point, and the map from its parameters to the user's."""
    nested = arrange(design)
    inside = np.linalg.solve(nested.to_user, x)
    ok, nodes = mode_nodes(nested, inside, kernel.new_nodes(nested.problem))
    assert ok
    return evaluate(nested, inside, hermite_rules(nested, (points,) * len(design.terms)), nodes, **options), nested


def loglik(design: Design, x: np.ndarray, points: int = 3) -> float:
    return at_modes(design, x, points)[0].loglik


def rebuilt(design: Design, rows: np.ndarray, **changes) -> Design:
    """The design of these rows (repeats allowed)."""
    parts = {name: getattr(design, name)[rows] for name in ("trials", "weights", "offset")} | changes
    y = parts.pop("y", design.y[rows])
    groups = [t.factor.codes[rows] for t in design.terms]
    return oracle.make_design(y, design.X[rows], groups, [t.Z[rows] for t in design.terms], **parts)


@given(models())
def test_score_is_the_gradient_of_the_approximation(model):
    """Nodes move with the parameters; the score must know."""
    design, x, _ = model
    point, nested = at_modes(design, x, 3, moving=True)
    score = np.linalg.solve(nested.to_user.T, point.score)
    h = 1e-4
    for j, e in enumerate(np.eye(len(x))):
        values = [loglik(design, x + k * h * e) for k in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert score[j] == pytest.approx(slope, rel=1e-6, abs=2e-7)


@given(models())
def test_one_node_is_laplace(model):
    design, x, _ = model
    expected = np.real(oracle.laplace(design, *oracle.unpack(design, x)))
    assert loglik(design, x, points=1) == pytest.approx(expected, abs=1e-9)


@given(models(), st.integers(1, 9))
def test_zero_variances_give_the_plain_logistic_likelihood(model, points):
    design, x, _ = model
    p = design.X.shape[1]
    eta = design.offset + design.X @ x[:p]
    plain = oracle.row_loglik(design, np.arange(design.n_rows), eta).sum() + oracle.row_constants(design).sum()
    flat = np.concatenate([x[:p], np.zeros(len(x) - p)])
    assert loglik(design, flat, points) == pytest.approx(plain, rel=1e-12, abs=1e-11)


@given(models())
def test_the_sign_of_a_column_of_lambda_does_not_matter(model):
    design, x, rng = model
    beta, Lambdas = oracle.unpack(design, x)
    flipped = [L * rng.choice([-1.0, 1.0], L.shape[1]) for L in Lambdas]
    assert loglik(design, oracle.pack(beta, flipped), 4) == pytest.approx(loglik(design, x, 4), abs=1e-10)


@given(models())
def test_order_of_rows_and_names_of_groups_do_not_matter(model):
    design, x, rng = model
    rows = rng.permutation(design.n_rows)
    mixed = rebuilt(design, rows)
    assert loglik(mixed, x) == pytest.approx(loglik(design, x), abs=1e-10)
    names = [rng.permutation(10**4)[t.factor.codes[rows]] for t in design.terms]
    parts = {name: getattr(design, name)[rows] for name in ("trials", "weights", "offset")}
    renamed = oracle.make_design(design.y[rows], design.X[rows], names, [t.Z[rows] for t in design.terms], **parts)
    assert loglik(renamed, x) == pytest.approx(loglik(design, x), abs=1e-10)


@given(models(weights=False))
def test_a_row_twice_is_a_row_with_weight_two(model):
    design, x, rng = model
    times = rng.integers(1, 4, design.n_rows)
    repeated = rebuilt(design, np.repeat(np.arange(design.n_rows), times))
    weighted = rebuilt(design, np.arange(design.n_rows), weights=times.astype(float))
    assert loglik(weighted, x) == pytest.approx(loglik(repeated, x), abs=1e-10)


@given(models(binomial=True, weights=False))
def test_counts_equal_their_single_trials_up_to_the_constant(model):
    design, x, _ = model
    times = design.trials.astype(int)
    rows = np.repeat(np.arange(design.n_rows), times)
    if len(rows) == 0:
        return
    within = np.concatenate([np.arange(t) for t in times])
    single = rebuilt(design, rows, y=(within < design.y[rows]).astype(float), trials=np.ones(len(rows)))
    n, y = design.trials, design.y
    constant = (gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)).sum()
    assert loglik(design, x) == pytest.approx(loglik(single, x) + constant, abs=1e-9)


@settings(max_examples=12)
@given(models(), st.integers(2, 5))
def test_threads_change_no_bit(model, threads):
    design, x, _ = model
    found = []
    for count in (1, threads):
        nested = arrange(design, threads=count)
        inside = np.linalg.solve(nested.to_user, x)
        _, nodes = mode_nodes(nested, inside, kernel.new_nodes(nested.problem))
        found.append(evaluate(nested, inside, hermite_rules(nested, (4,) * len(design.terms)), nodes, moving=True))
    assert found[0].loglik == found[1].loglik
    assert np.array_equal(found[0].score, found[1].score)
    assert np.array_equal(found[0].hessian, found[1].hessian)
