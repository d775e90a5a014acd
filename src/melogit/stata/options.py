"""Every command and every option that is understood, once.

Spelt as in Stata's manuals: capital letters are the shortest form. What stands in the brackets of an option says what
it takes: ``#`` a number, ``numbers``, ``name`` of a variable, ``word``, or ``text`` that the command reads itself.
"""

from __future__ import annotations

from collections.abc import Mapping

MODEL = {
    "or": "odds ratios in place of coefficients",
    "INTPoints(numbers)": "integration points, one number or one per level from the top",
    "INTMethod(word)": "mvaghermite, mcaghermite, ghermite or laplace",
    "LAPlace": "the Laplace approximation: one point",
    "BINomial(name)": "number of trials, a variable or a number",
    "OFFset(name)": "a variable whose coefficient is 1",
    "Level(#)": "confidence level in percent",
    "VCE(text)": "oim, robust or cluster variable",
    "Robust": "the same as vce(robust)",
    "CLuster(name)": "the same as vce(cluster variable)",
    "ITERate(#)": "most iterations",
    "NOLOG": "no iteration log",
    "LOg": "the iteration log, the default",
    "VARiance": "variances rather than standard deviations; always so here, and estat sd shows the others",
    "asis": "keep predictors that predict perfectly; they are always kept here",
}
LEVEL = {
    "COVariance(word)": "independent, exchangeable, identity or unstructured",
    "NOConstant": "no constant",
}
ESTIMATION = {**MODEL, **LEVEL}
REPLAY = {"or": MODEL["or"], "Level(#)": MODEL["Level(#)"], "NOLOG": MODEL["NOLOG"]}

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "melogit": ESTIMATION,
    "meqrlogit": ESTIMATION,
    "xtmelogit": ESTIMATION,
    "use": {"clear": "replace the data in memory"},
    "insheet": {
        "clear": "replace the data in memory",
        "COMma": "columns are separated by commas, the default",
        "case": "keep upper and lower case of the names",
        "NAMEs": "the first line holds the names, the default",
    },
    "import": {
        "clear": "replace the data in memory",
        "case(word)": "lower (the default) or preserve: the names' letters",
        "VARNames(#)": "1: the first line holds the names, the default",
    },
    "ENcode": {"Generate(name)": "the new variable"},
    "Generate": {},
    "replace": {},
    "drop": {},
    "keep": {},
    "REName": {},
    "SUmmarize": {},
    "tab1": {},
    "TAbulate": {},
    "CORrelate": {},
    "set": {},
    "clear": {},
    "version": {},
    "ESTimates": {},
    "estat": {},
    "predict": {},
    "TEst": {},
    "TESTParm": {},
    "lincom": {},
    "LRtest": {},
    "margins": {},
    "marginsplot": {},
}

PREFIXES: Mapping[str, Mapping[str, str]] = {
    "QUIetly": {},
    "NOIsily": {},
    "bootstrap": {
        "Reps(#)": "number of samples",
        "SEED(#)": "start of the random numbers",
        "CLuster(name)": "the variable whose groups are resampled whole",
        "IDCLuster(name)": "a new variable with a number of its own for each resampled group",
        "bca": "what estat bootstrap, bca needs (it is always there)",
        "NODOTS": "no progress",
        "Level(#)": "confidence level in percent",
    },
    "bs": {},
}

# What may stand before the comma beside the command's own words; nothing where a command is not listed.
QUALIFIERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("melogit", "meqrlogit", "xtmelogit"), ("if", "in", "[weight]")),
    **dict.fromkeys(("generate", "replace", "drop", "keep"), ("if", "in")),
    **dict.fromkeys(("summarize", "tab1", "tabulate", "correlate"), ("if", "in")),
    **dict.fromkeys(("insheet", "import"), ("using",)),
}

STRUCTURES = ("independent", "exchangeable", "identity", "unstructured")
METHODS = ("mvaghermite", "mcaghermite", "ghermite", "laplace")
DEFAULT_METHOD = {"melogit": "mvaghermite", "meqrlogit": "mcaghermite", "xtmelogit": "mcaghermite"}
DEFAULT_POINTS = 7


def listed(table: Mapping[str, str] | Mapping[str, Mapping[str, str]]) -> str:
    """Name the entries of a table for a message."""
    return ", ".join(entry.lower() for entry in table) or "none"
