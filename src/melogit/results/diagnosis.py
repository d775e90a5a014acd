"""``fit.diagnose()`` and what it gives."""

from __future__ import annotations

import os
import platform
import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from melogit.design import Design
from melogit.errors import DataError, ModelError
from melogit.report import Summary
from melogit.report.checks import Check, Report, Verdict
from melogit.report.checks_text import measure_text, summary_text, verdict_lines
from melogit.report.progress import step_display
from melogit.results.inferences import needs_data
from melogit.storage import write_whole

if TYPE_CHECKING:
    from melogit.effects.posterior import Posterior
    from melogit.fit.types import Fit
    from melogit.formula.recipe import Recipe


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Diagnosis:
    """The checks of a fitted model.

    ``print(checks)`` gives the verdict in about ten lines and one line per check; ``checks["linearity"]`` a check in
    full.

    Attributes
    ----------
    checks : tuple of Check
        In the order of the report.
    report : Report
        What ``to_html`` and ``to_markdown`` write.
    seed : int
        Of everything random.
    """

    checks: tuple[Check, ...]
    report: Report
    seed: int

    def __getitem__(self, key: str) -> Check:
        """Look up a check by its key."""
        for check in self.checks:
            if check.key == key:
                return check
        raise KeyError(f"There is no check {key!r} here; there are {', '.join(self.keys())}.")

    def __iter__(self) -> Iterator[Check]:
        """Go through the checks in their order."""
        return iter(self.checks)

    def __len__(self) -> int:
        """Count the checks."""
        return len(self.checks)

    def keys(self) -> tuple[str, ...]:
        """The short names of the checks."""
        return tuple(check.key for check in self.checks)

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks' verdicts."""
        return max((check.verdict for check in self.checks), key=lambda verdict: verdict.rank)

    @property
    def table(self) -> pd.DataFrame:
        """One row per check: ``title, verdict, result, meaning, seconds``."""
        rows = {
            check.key: (
                check.title,
                check.verdict.value,
                measure_text(check.measures[0]) if check.measures else "",
                check.meaning,
                check.seconds,
            )
            for check in self.checks
        }
        columns = ["title", "verdict", "result", "meaning", "seconds"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("check")

    def summary(self) -> str:
        """Write the verdict in about ten lines, then one line per check."""
        return summary_text(self.report.formula, self.checks, self.report.verdict)

    def plot(self, key: str | None = None) -> Any:
        """Draw the pictures of one check, or the first picture of every check, in one figure.

        Parameters
        ----------
        key : str, optional
            Of the check.

        Returns
        -------
        list of matplotlib Axes
        """
        from melogit.plots.checks import draw_all

        if key is None:
            return draw_all([check.pictures[0] for check in self.checks if check.pictures], "Checks of the model")
        check = self[key]
        if not check.pictures:
            raise ModelError(f"The check '{key}' has no picture. Print it: print(checks[{key!r}]).")
        return draw_all(check.pictures, check.title)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the report as one self-contained HTML file.

        Raises
        ------
        ModelError
            matplotlib, which draws its pictures, is not installed.
        DataError
            The folder does not exist, or the file cannot be written.
        """
        from melogit.plots.checks import as_svg
        from melogit.report.page import build_page

        _write(path, build_page(self.report, draw=as_svg))

    def to_markdown(self, path: str | os.PathLike[str]) -> None:
        """Write the report as Markdown, the pictures described in words.

        Raises
        ------
        DataError
            The folder does not exist, or the file cannot be written.
        """
        from melogit.report.markdown import build_markdown

        _write(path, build_markdown(self.report))

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        counted = [(v.value, sum(c.verdict is v for c in self.checks)) for v in Verdict]
        found = ", ".join(f"{number} {word}" for word, number in counted if number)
        return f"<melogit.Diagnosis of {self.report.formula}: {found}>"


def _write(path: str | os.PathLike[str], text: str) -> None:
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise DataError(
            f"The report cannot be written to '{path}': there is no folder '{target.parent}'. Make it first, or give "
            "another path."
        )
    if target.is_dir():
        raise DataError(
            f"The report cannot be written to '{path}', which is a folder. Give the name of a file in it, for example "
            f"'{Path(path) / 'report.html'}'."
        )
    try:
        write_whole(target, text)
    except OSError as error:
        raise DataError(
            f"The report cannot be written to '{path}': {error.strerror or error}. Check the folder's permissions, or "
            "give another path."
        ) from error


class Checking:
    """Checks of what the method assumes."""

    __slots__ = ()

    if TYPE_CHECKING:
        fit: Fit
        design: Design | None
        oim: Fit | None
        recipe: Recipe | None
        posterior: Posterior | None

        def summary(self, odds_ratios: bool = False) -> Summary: ...  # noqa: D102

    def diagnose(
        self,
        only: str | Sequence[str] | None = None,
        *,
        time: str | ArrayLike | None = None,
        seed: int = 0,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> Diagnosis:
        """Check what the method assumes, and say in plain words what was found and what to do.

        Parameters
        ----------
        only : str or sequence of str, optional
            Keys of the checks to make; all by default.
        time : str or array, optional
            When each row was observed, for the check of serial correlation: a predictor of the model, a Series with
            the index of the data, or a number for every row used.
        seed : int
            Of everything random; the same seed gives the same report.
        threads : int, optional
        progress : bool, optional
            Show on standard error which check is being made; by default, in a terminal, after a second.

        Returns
        -------
        Diagnosis

        Raises
        ------
        ModelError
            A model read from a file, which does not hold the data; a check that does not exist.

        Examples
        --------
        >>> import melogit as me
        >>> fit = me.melogit("purchase ~ minutes + member + (1 | consumer)", me.load_dataset("retail"))
        >>> checks = fit.diagnose(only=["collinearity"])
        >>> checks["collinearity"].verdict.value
        'fine'
        """
        return make_diagnosis(self, only, time, seed, threads, progress)


def make_diagnosis(
    results: Any, only: Any, time: Any, seed: Any, threads: int | None, progress: bool | None
) -> Diagnosis:
    """Make the checks of a fit and put them together for its report."""
    from melogit.diagnostics.context import Context, read_predictors, read_terms, refits_in_words
    from melogit.diagnostics.diagnose import chosen, run

    began = clock.perf_counter()
    design = needs_data(results.design, "diagnose()")
    keys = chosen(only)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ModelError(f"seed={seed!r} must be a whole number, 0 or more.")
    name, values = _times(time, design, results.recipe)
    with step_display(progress, "Checking the model") as tell:
        context = Context(
            fit=results.oim or results.fit,
            design=design,
            predictors=read_predictors(design, results.recipe),
            terms=read_terms(design, results.recipe),
            posterior=results.posterior,
            seed=int(seed),
            threads=threads,
            time=values,
            time_name=name,
            outcomes=() if results.recipe is None else results.recipe.outcomes,
            tell=tell,
        )
        checks = tuple(run(context, keys))
    wording = results.fit.wording
    report = Report(
        title=f"Checks of the model of {wording.response}",
        formula=wording.formula,
        model=results.summary(odds_ratios=True),
        full=results.summary(),
        checks=checks,
        verdict=verdict_lines(checks),
        facts=_facts(
            int(seed), keys if only is not None else None, name, refits_in_words(context), clock.perf_counter() - began
        ),
    )
    return Diagnosis(checks, report, int(seed))


def _times(time: Any, design: Design, recipe: Recipe | None) -> tuple[str, np.ndarray | None]:
    """Read the time of each row."""
    if time is None:
        return "", None
    if isinstance(time, str):
        sample = recipe.sample if recipe is not None and recipe.sample is not None else {}
        values = sample.get(time)
        if values is None or isinstance(values, pd.Categorical):
            raise DataError(
                f"time='{time}' is not a predictor of this model that holds numbers, and the fit does not keep other "
                f"columns. Give the column itself: time=data['{time}']."
            )
        return time, np.asarray(values, dtype=np.float64)
    name = str(time.name) if isinstance(time, pd.Series) and time.name is not None else "time"
    given = time if isinstance(time, pd.Series) else pd.Series(np.asarray(time))
    if len(given) != design.n_rows:
        labels = pd.Index(design.row_labels)
        if not isinstance(time, pd.Series) or not given.index.is_unique or not labels.isin(given.index).all():
            raise DataError(
                f"time= has {len(given):,} values for {design.n_rows:,} rows used. Give one number for each row used, "
                "or a column of the same data frame (with an index without repeats)."
            )
        given = given.loc[labels]
    if pd.api.types.is_datetime64_any_dtype(given):
        given = (given - given.min()) / pd.Timedelta(days=1)
    if not pd.api.types.is_numeric_dtype(given) or given.isna().any():
        raise DataError(f"time= ('{name}') must be numbers or dates without gaps, one for each row used.")
    return name, given.to_numpy(dtype=np.float64)


def _facts(
    seed: int, keys: list[str] | None, time_name: str, refits: str, seconds: float
) -> tuple[tuple[str, str], ...]:
    """What has to be known to make the report again."""
    arguments = [f"only={keys!r}"] if keys is not None else []
    arguments += [f'time="{time_name}"'] if time_name else []
    call = f"fit.diagnose({', '.join([*arguments, f'seed={seed}'])})"
    packages = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "scipy", "pandas", "formulaic"))
    return (
        ("Call", call),
        ("Seed", str(seed)),
        *([("Refits", refits)] if refits else []),
        ("Date", date.today().isoformat()),
        ("Time taken", f"{seconds:.1f} seconds"),
        ("melogit", _version("melogit")),
        ("Python", f"{platform.python_version()} on {platform.system()}"),
        ("Packages", packages),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "version unknown"
