"""A fit in the form that the ``marginaleffects`` package understands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melogit.effects.parameters import parameters
from melogit.effects.predict import predict
from melogit.errors import ModelError
from melogit.formula.recipe import Column, Recipe, factor_levels
from melogit.formula.response import label
from melogit.results.after import Model, new_rows, recipe_of, rows_of_fit

FloatArray = NDArray[np.float64]
OUTCOME = "outcome_share"


def as_marginaleffects(model: Model) -> Any:
    """Make the object that ``marginaleffects.predictions``, ``slopes``, ``comparisons`` ... take as their model.

    Its predictions are averaged over the random effects; its parameters are the fixed effects and the variances, so
    that delta methods see the uncertainty of both.
    """
    try:
        import polars as pl
        from marginaleffects.classes import ModelAbstract, ModelVault  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ModelError(
            'This needs the package marginaleffects, which is not installed: pip install "melogit[marginaleffects]".'
        ) from error
    recipe = recipe_of(model, "Marginal effects")
    design, _ = rows_of_fit(model, "Marginal effects")
    assert recipe.sample is not None
    found = parameters(model.fit)

    class MelogitModel(ModelAbstract):
        def get_exog(self, newdata: Any) -> Any:
            return newdata

        def get_predict(self, params: Any, newdata: Any) -> Any:
            values = _predicted(model, np.asarray(params, dtype=np.float64), newdata)
            rows = pl.Series("rowid", range(len(values)), dtype=pl.Int32)
            return pl.DataFrame({"rowid": rows, "estimate": values})

        def get_vcov(self, vcov: Any = True) -> Any:
            return None if vcov is False else found.cov

    columns = {column.name: _as_polars(pl, recipe, column) for column in recipe.columns}
    with np.errstate(invalid="ignore"):
        share = design.y / design.trials
    data = pl.DataFrame({OUTCOME: share, **columns})
    kinds = {c.name: "numeric" if factor_levels(recipe, c.name) is None else "character" for c in recipe.columns}
    vault = ModelVault(
        coef=model.fit.params.copy(),
        coefnames=np.array(model.fit.names),
        formula=f"{OUTCOME} ~ " + (" + ".join(f"`{name}`" for name in columns) or "1"),  # only names the columns
        modeldata=data,
        package="melogit",
        vcov=found.cov,
        variables_type={OUTCOME: "numeric", **kinds},
        variable_names=[OUTCOME, *columns],
    )
    return MelogitModel(model, vault)


def _as_polars(pl: Any, recipe: Recipe, column: Column) -> Any:
    """A predictor as a polars column; the package wants categories of text."""
    assert recipe.sample is not None
    values = recipe.sample[column.name]
    if column.kind != "category":
        return pl.Series(np.ascontiguousarray(values))
    names = [label(level) for level in column.levels]
    return pl.Series([label(v) for v in np.asarray(values)], dtype=pl.Enum(names))


def _predicted(model: Model, params: FloatArray, newdata: Any) -> FloatArray:
    """Population-averaged probabilities at other parameters."""
    found = parameters(model.fit)
    terms = []
    for term, basis in zip(model.fit.terms, found.basis, strict=True):
        Sigma = np.einsum("r,rij->ij", params[found.p :], basis)
        terms.append(replace(term, Sigma=Sigma))
    fit = replace(model.fit, params=params, terms=tuple(terms))
    frame = newdata.to_pandas()
    for column in recipe_of(model, "Marginal effects").columns:
        if column.kind == "category":
            back = {label(level): level for level in column.levels}
            frame[column.name] = pd.Series([back[str(v)] for v in frame[column.name]], dtype=object)
    _, rows = new_rows(model, frame, groups=False, what="Marginal effects")
    return predict(fit, rows, "marginal", None).values
