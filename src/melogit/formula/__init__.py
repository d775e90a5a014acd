"""Formula and data in, ``Design`` out."""

from melogit.formula.build import build, build_design
from melogit.formula.groups import crossing_example
from melogit.formula.reading import read_table
from melogit.formula.recipe import Recipe

__all__ = ["Recipe", "build", "build_design", "crossing_example", "read_table"]
