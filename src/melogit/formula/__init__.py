"""Formula and data in, ``Design`` out."""

from melogit.formula.build import Recipe, build, build_design
from melogit.formula.groups import crossing_example
from melogit.formula.reading import read_table

__all__ = ["Recipe", "build", "build_design", "crossing_example", "read_table"]
