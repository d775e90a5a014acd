"""A fit from a Stata command: the usual results, shown in Stata's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from melogit.fit.types import Fit
from melogit.report import Section, Summary
from melogit.results import Results
from melogit.results.bootstrap import BootstrapResults

CONSTANT = "_cons"
NOT_CARRIED_ON = "Note: test, lincom and margins after this use the standard errors of the fit itself, not these."
_AUTO = ('fit with intpoints="auto" to reach it', 'me.melogit, with the formula above and intpoints="auto", reaches it')


@dataclass(frozen=True, slots=True)
class Wording:
    """How a Stata fit is shown.

    Attributes
    ----------
    command : str
        As typed.
    name : str
        ``melogit``, ``meqrlogit`` or ``xtmelogit``.
    odds_ratios, log : bool
        The options ``or`` and (not) ``nolog``.
    labels : mapping of str to (str, bool)
        Factors of the formula -> how they are shown, and whether they are categories.
    notes : tuple of str
    """

    command: str = ""
    name: str = "melogit"
    odds_ratios: bool = False
    log: bool = True
    labels: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StataResults(Results):
    """Results whose table is laid out and worded like Stata's.

    Names of parameters are those of the data (``DID:var(Intercept)``); the table shows them as Stata does after an
    import (``did``, ``var(_cons)``).

    Attributes
    ----------
    wording : Wording
    bootstrapped : BootstrapResults or None
        Of the prefix ``bootstrap``. Tests and margins after it still rest on the observed information.

    Examples
    --------
    >>> import melogit as me
    >>> fit = me.stata("melogit purchase minutes || consumer:, nolog", me.load_dataset("retail"))
    >>> print(fit.log.splitlines()[0])
    Fitting fixed-effects model:
    """

    wording: Wording = field(default_factory=Wording)
    bootstrapped: BootstrapResults | None = None

    def summary(self, odds_ratios: bool | None = None) -> Summary:
        """Lay out the table; odds ratios where the command had the option ``or``, unless said otherwise."""
        chosen = self.wording.odds_ratios if odds_ratios is None else odds_ratios
        # A subclass with slots has no plain super() here: dataclass makes the class anew.
        return in_stata_words(Results.summary(self, chosen), self.fit, self.wording)

    def __str__(self) -> str:
        if self.bootstrapped is None:
            return str(self.summary())
        table = self.bootstrapped.summary(
            odds_ratios=self.wording.odds_ratios,
            level=self.level,
            labels=lambda name: parameter_label(name, self.fit, self.wording.labels),
        )
        return f"{table}\n{NOT_CARRIED_ON}"

    @property
    def log(self) -> str:
        """The iterations, as Stata prints them above the table."""
        return iteration_log(self.fit)


def dressed(results: Results, wording: Wording) -> StataResults:
    """Turn results into those of a Stata command."""
    given = {f.name: getattr(results, f.name) for f in fields(results) if f.init and f.name != "wording"}
    return StataResults(**given, wording=wording)


def iteration_log(fit: Fit) -> str:
    """Write the iterations of the fixed-effects model, the starting values and the full model.

    Returns
    -------
    str
        Ends without a line feed.
    """
    heads = {
        "fixed": "Fitting fixed-effects model:",
        "start": "Refining starting values:",
        "full": "Fitting full model:",
    }
    lines: list[str] = []
    stage = ""
    for row in fit.trace:
        if row.stage != stage:
            stage = row.stage
            lines += ["", heads.get(stage, stage), ""]
        word = "Grid node" if stage == "start" else "Iteration"
        lines.append(
            f"{word} {row.iteration}:{'':>{max(1, 4 - len(str(row.iteration)))}}log likelihood = {row.loglik:.4f}"
        )
    return "\n".join(lines[1:])


# ------------------------------------------------------------------------------------------------- the table


def in_stata_words(summary: Summary, fit: Fit, wording: Wording) -> Summary:
    """Put Stata's names of groups, constants, factors and levels into a summary."""
    labels = wording.labels
    fixed, *variance = summary.sections
    groups = {term.name: term for term in fit.terms}
    sections = [_fixed(fixed, labels)]
    for section in variance:
        term = groups[section.title]
        title = group_label(section.title)
        if wording.name != "melogit":  # meqrlogit names the structure
            kinds = [block.structure for block in term.blocks]
            words = "Identity" if len(term.names) == 1 else ", ".join(kind.capitalize() for kind in kinds)
            title = f"{group_label(section.title, last=True)}: {words}"
        rows = tuple(replace(row, label=_effect(row.label, labels)) for row in section.rows)
        sections.append(Section(title, rows))
    single = len(summary.groups) == 1
    return replace(
        summary,
        groups=tuple(
            replace(g, name=g.name.lower() if single else group_label(g.name, last=True)) for g in summary.groups
        ),
        response=_response(summary.response, labels),
        sections=tuple(sections),
        notes=(*wording.notes, *_notes(summary.notes)),
    )


def group_label(name: str, last: bool = False) -> str:
    """``HID:DID`` is ``hid>did`` above its variances and ``did`` where groups are counted.

    Examples
    --------
    >>> group_label("HID:DID"), group_label("HID:DID", last=True)
    ('hid>did', 'did')
    """
    return name.lower().rpartition(":")[2] if last else name.lower().replace(":", ">")


def _response(name: str, labels: Mapping[str, tuple[str, bool]]) -> str:
    column, equals, event = name.partition(" = ")
    shown = labels.get(column, (column.lower(), False))[0]
    return f"{shown}{equals}{event}"


def _fixed(section: Section, labels: Mapping[str, tuple[str, bool]]) -> Section:
    rows = []
    for row in section.rows:
        if row.level:
            rows.append(replace(row, label=row.label.replace(", ", "#")))
        elif row.label == "Intercept":
            rows.append(replace(row, label=CONSTANT))
        else:
            rows.append(replace(row, label=term_label(row.label, labels)))
    return Section(section.title, tuple(rows))


def term_label(name: str, labels: Mapping[str, tuple[str, bool]]) -> str:
    """Show a term of the formula as Stata does: ``CancerStage:IL6`` as ``cancerstage#c.il6``.

    Examples
    --------
    >>> term_label("C(Married):IL6", {"C(Married)": ("married", True), "IL6": ("il6", False)})
    'married#c.il6'
    """
    pieces = split_colons(name)
    shown = []
    for piece in pieces:
        text, category = labels.get(piece, (piece.lower(), False))
        shown.append(text if category or len(pieces) == 1 or text.startswith("c.") else f"c.{text}")
    return "#".join(shown)


def split_colons(name: str) -> list[str]:
    """Cut at colons outside brackets."""
    pieces, depth = [""], 0
    for letter in name:
        depth += (letter in "([") - (letter in ")]")
        if letter == ":" and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def _effect(label: str, labels: Mapping[str, tuple[str, bool]]) -> str:
    """``var(Intercept)`` as ``var(_cons)``, ``cov(IL6,Intercept)`` as ``cov(il6,_cons)``."""
    kind, _, rest = label.partition("(")
    names = rest.removesuffix(")")
    shown = [coefficient_label(name, labels) for name in _effects(names)]
    return f"{kind}({','.join(shown)})"


def _effects(names: str) -> list[str]:
    """Cut at commas and blanks outside brackets."""
    pieces, depth = [""], 0
    for letter in names:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def coefficient_label(name: str, labels: Mapping[str, tuple[str, bool]]) -> str:
    """``CancerStage[II]`` as ``II.cancerstage``, ``Intercept`` as ``_cons``.

    Examples
    --------
    >>> coefficient_label("CancerStage[II]:IL6", {"CancerStage": ("cancerstage", True)})
    'II.cancerstage#il6'
    """
    if name == "Intercept":
        return CONSTANT
    shown = []
    for piece in split_colons(name):
        term, bracket, level = piece.removesuffix("]").rpartition("[") if piece.endswith("]") else (piece, "", "")
        text = term_label(term if bracket else piece, labels)
        shown.append(f"{level}.{text}" if bracket else text)
    return "#".join(shown)


def parameter_label(name: str, fit: Fit, labels: Mapping[str, tuple[str, bool]]) -> str:
    """Show any parameter: ``HID:DID:var(Intercept)`` as ``hid>did: var(_cons)``."""
    for term in fit.terms:
        if name in term.parameters:
            return f"{group_label(term.name)}: {_effect(name.removeprefix(term.name + ':'), labels)}"
    return coefficient_label(name, labels)


def _notes(notes: tuple[str, ...]) -> list[str]:
    said = []
    for note in notes:
        if note.startswith("Model: "):
            said.append("In formula notation: " + note.removeprefix("Model: "))
        elif note.startswith("Intercept is the odds"):
            said.append("Note: _cons estimates baseline odds (conditional on zero random effects).")
        elif note.startswith("The LR test is conservative"):
            said.append("Note: LR test is conservative and provided only for reference.")
        else:
            said.append(note.replace(*_AUTO))
    return said
