"""Whether one model is a special case of another, and which parameters the larger one adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melogit.design import Block, Design
from melogit.errors import ModelError
from melogit.fit.types import Fit, Integration, TermFit

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tested:
    """What the larger model has and the smaller does not.

    Attributes
    ----------
    fixed : int
        Fixed effects.
    interior : tuple of str
        Variance parameters that are free where the smaller model fixes them (covariances).
    cones : tuple of tuple of str
        New covariance matrices, each as the names of its lower triangle, row by row; a single name is a variance.
    terms : tuple of (int or None)
        For each term of the larger model the position of the smaller model's term on the same groups.
    interior_count : int
    exchangeable : tuple of (variance, covariance, size)
        New matrices of one variance and one covariance, by the names of both and the number of effects.
    """

    fixed: int
    interior: tuple[str, ...]
    cones: tuple[tuple[str, ...], ...]
    terms: tuple[int | None, ...]
    interior_count: int
    exchangeable: tuple[tuple[str, str, int], ...] = ()

    @property
    def free(self) -> int:
        """Parameters whose range has no edge at the null hypothesis."""
        return self.fixed + self.interior_count

    @property
    def edged(self) -> int:
        """Parameters that lie on the edge of their range there."""
        return sum(len(cone) for cone in self.cones) + 2 * len(self.exchangeable)


def check_comparable(a: Fit, b: Fit, design_a: Design | None, design_b: Design | None) -> None:
    """Refuse to compare log-likelihoods that do not belong to the same data or were computed differently.

    Raises
    ------
    ModelError
    """
    for fit in (a, b):
        if not fit.converged:
            raise ModelError(
                f"The model {fit.wording.formula} did not reach a maximum ({fit.status.value}), so its log-likelihood "
                "cannot be compared. Fit it again with more iterations, or simplify it."
            )
    _check_rows(a, b, design_a, design_b)
    x, y = a.integration, b.integration
    exact = x.accurate and y.accurate
    alike = x.method == y.method and set(x.points) == set(y.points) and x.automatic == y.automatic
    if not (exact or alike):
        raise ModelError(
            f"The log-likelihoods were computed in different ways: {_way(x)} against {_way(y)}, and not both to the "
            f"accuracy asked for. The difference would be partly that of the methods. {_alike(a, b)}"
        )


def _way(found: Integration) -> str:
    """How a log-likelihood was computed, in a few words."""
    if found.method == "laplace":
        return "the Laplace approximation"
    if found.method == "simulated":
        return f"simulation with {found.draws} draws"
    points = _listed(found.points)
    return f"{found.method} with {points} {'point' if points == '1' else 'points'}"


def _alike(a: Fit, b: Fit) -> str:
    """What to do about log-likelihoods that were computed in different ways."""
    if a.nested and b.nested:
        return 'Fit both with intpoints="auto", or both with the same method and points.'
    crossed = " and ".join(dict.fromkeys(f.wording.formula for f in (a, b) if not f.nested))
    if a.nested == b.nested:
        return 'Fit both with the same method: "laplace", or "simulated" for exact likelihoods.'
    return (
        f'The groups of {crossed} cross: fit the other model with method="laplace" too, or the crossed one with '
        'method="simulated" (exact, as the other is with intpoints="auto").'
    )


def _listed(points: tuple[int, ...]) -> str:
    return ", ".join(map(str, dict.fromkeys(points)))


def _check_rows(a: Fit, b: Fit, design_a: Design | None, design_b: Design | None) -> None:
    used = a.wording.rows_used, b.wording.rows_used
    if used[0] != used[1] or not np.isclose(a.n_obs, b.n_obs, rtol=1e-12):
        lost = {name: count for name, count in (*a.wording.rows_missing, *b.wording.rows_missing)}
        why = (
            f" Rows were left out because {', '.join(f'{name} lacks {n:,} values' for name, n in lost.items())}."
            if lost
            else ""
        )
        raise ModelError(
            f"The models were fitted to different rows: {used[0]:,} and {used[1]:,}.{why} Likelihoods compare only on "
            "the same rows: select the complete rows first and fit both models to those."
        )
    if design_a is None or design_b is None:
        if a.wording.response != b.wording.response:
            raise ModelError(
                f"The models have different responses ({a.wording.response} and {b.wording.response}); "
                "their likelihoods cannot be compared."
            )
        return
    pairs = (("response", "y"), ("trials", "trials"), ("weights", "weights"))
    for word, name in pairs:
        if not np.array_equal(getattr(design_a, name), getattr(design_b, name)):
            raise ModelError(
                f"The models have the same number of rows but different values of the {word}: these are different "
                "rows, in a different order, or a different outcome. Fit both models to the same data frame."
            )
    labels = design_a.row_labels, design_b.row_labels
    if len(labels[0]) == len(labels[1]) and len(labels[0]) and not np.array_equal(*labels):
        raise ModelError(
            "The models were fitted to different rows of the data (their row labels differ), although the responses "
            "agree. Select the complete rows first and fit both models to those."
        )


def compare_structure(a: Fit, b: Fit, design_a: Design | None, design_b: Design | None) -> Tested:
    """Find what ``b`` adds to ``a``.

    Raises
    ------
    ModelError
        ``a`` is not a special case of ``b``.
    """
    fixed = b.n_fixed - a.n_fixed
    _check_fixed(a, b, design_a, design_b)
    matches = tuple(_match(term, k, a, design_a, design_b) for k, term in enumerate(b.terms))
    unmatched = [t.name for k, t in enumerate(a.terms) if k not in matches]
    if unmatched:
        raise _not_nested(a, b, f"the groups of {', '.join(unmatched)} are only in the first")
    interior: list[str] = []
    cones: list[tuple[str, ...]] = []
    tied: list[tuple[str, str, int]] = []
    count = 0
    for term, match in zip(b.terms, matches, strict=True):
        old = a.terms[match] if match is not None else None
        if old is not None and (lost := [name for name in old.names if name not in term.names]):
            raise _not_nested(a, b, f"the random effect of {', '.join(lost)} by {old.name} is only in the first")
        more, new = _of_term(a, b, old, term)
        interior += more[0]
        count += more[1]
        cones += new
        known = old.names if old is not None else ()
        tied += [
            _tied(term, block) for block in term.blocks if _is_tied(block) and term.names[block.start] not in known
        ]
    return Tested(fixed, tuple(interior), tuple(cones), matches, count, tuple(tied))


def _is_tied(block: Block) -> bool:
    return block.structure == "exchangeable" and block.size > 1


def _tied(term: TermFit, block: Block) -> tuple[str, str, int]:
    """Names of the variance and the covariance of an exchangeable block."""
    effects = ",".join(term.names[block.start : block.start + block.size])
    return f"{term.name}:var({effects})", f"{term.name}:cov({effects})", block.size


def _not_nested(a: Fit, b: Fit, why: str) -> ModelError:
    return ModelError(
        f"{a.wording.formula} is not a special case of {b.wording.formula}: {why}. A likelihood-ratio test compares a "
        "model with one that contains it; me.compare shows AIC and BIC for any models."
    )


def _check_fixed(a: Fit, b: Fit, design_a: Design | None, design_b: Design | None) -> None:
    first, second = a.names[: a.n_fixed], b.names[: b.n_fixed]
    if set(first) <= set(second):
        if design_a is not None and design_b is not None and not np.array_equal(design_a.offset, design_b.offset):
            raise _not_nested(a, b, "their offsets differ")
        return
    if design_a is not None and design_b is not None:
        X = design_b.X / np.sqrt(np.mean(design_b.X**2, axis=0))
        target = np.column_stack([design_a.X, design_a.offset - design_b.offset])
        left = target - X @ np.linalg.lstsq(X, target, rcond=None)[0]
        if np.all(np.abs(left).max(axis=0) <= 1e-8 * np.maximum(np.abs(target).max(axis=0), 1e-300)):
            return
    lost = [name for name in first if name not in second]
    raise _not_nested(a, b, f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} only in the first")


def _match(term: TermFit, k: int, a: Fit, design_a: Design | None, design_b: Design | None) -> int | None:
    """The smaller model's term on the same groups, whatever it is called (``DID`` or ``HID:DID``)."""
    for j, other in enumerate(a.terms):
        if len(other.levels) != len(term.levels):
            continue
        if design_a is None or design_b is None:
            if other.name == term.name or other.name.split(":")[-1] == term.name.split(":")[-1]:
                return j
            continue
        pairs = design_a.terms[j].factor.codes.astype(np.int64) * len(term.levels) + design_b.terms[k].factor.codes
        if len(np.unique(pairs)) == len(term.levels):
            return j
    return None


def _parameters(term: TermFit) -> dict[str, str]:
    """Names of a term's parameters without the group, to the full names."""
    return {name.removeprefix(f"{term.name}:"): name for name in term.parameters}


def _block_parameters(effects: list[str], block: Block) -> int:
    if block.structure == "unstructured":
        return len(effects) * (len(effects) + 1) // 2
    if block.structure == "independent" or len(effects) == 1:
        return len(effects)
    return 1 if block.structure == "identity" else 2


def _of_term(a: Fit, b: Fit, old: TermFit | None, term: TermFit) -> tuple[tuple[list[str], int], list[tuple[str, ...]]]:
    known = set(old.names) if old is not None else set()
    by_name = _parameters(term)
    interior: list[str] = []
    count, cones, old_count = 0, [], 0
    for block in term.blocks:
        effects = list(term.names[block.start : block.start + block.size])
        kept = [name for name in effects if name in known]
        new = [name for name in effects if name not in known]
        if kept and new and block.structure in ("identity", "exchangeable"):
            raise _not_nested(
                a, b, f"the {block.structure} covariance by {term.name} ties old and new effects together"
            )
        old_count += _block_parameters(kept, block) if kept else 0
        if not new:
            continue
        if _is_tied(block):
            continue
        if block.structure == "identity" and block.size > 1:
            cones.append((by_name[f"var({','.join(effects)})"],))
        elif block.structure == "unstructured":
            crossed = [_covariance(by_name, one, two) for one in kept for two in new]
            interior += crossed
            count += len(crossed)
            cones.append(
                tuple(
                    by_name[f"var({one})"] if one == two else _covariance(by_name, one, two)
                    for i, one in enumerate(new)
                    for two in new[: i + 1]
                )
            )
        else:
            cones += [(by_name[f"var({name})"],) for name in new]
    extra = old_count - (len(old.parameters) if old is not None else 0)
    if extra < 0:
        raise _not_nested(a, b, f"the covariance by {term.name} has more parameters in the first")
    if extra and old is not None:
        before = set(_parameters(old))
        new_ties = [name for block in term.blocks if _is_tied(block) for name in _tied(term, block)[:2]]
        taken = [*interior, *(new_ties if set(term.names) - known else [])]
        both = [n for label, n in by_name.items() if label not in before and n not in taken and not _in(n, cones)]
        interior += both[:extra]
    return (interior, count + extra), cones


def _in(name: str, cones: list[tuple[str, ...]]) -> bool:
    return any(name in cone for cone in cones)


def _covariance(by_name: dict[str, str], one: str, two: str) -> str:
    return by_name.get(f"cov({one},{two})") or by_name[f"cov({two},{one})"]
