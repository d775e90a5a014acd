"""Between the oracle's dictionaries in the user's units and the engine's arrays in its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import oracle
from melogit import kernel
from melogit.design import Design
from melogit.likelihood.arrange import Nested, arrange
from melogit.likelihood.nested import Point, evaluate, hermite_rules, mode_nodes


@dataclass(frozen=True)
class Engine:
    """The engine's view of a design; parameters and derivatives here are the user's, as ``oracle.pack`` has them."""

    design: Design
    nested: Nested

    def inside(self, x: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.nested.to_user, x)

    def arrays(self, places) -> kernel.Nodes:
        nodes = kernel.new_nodes(self.nested.problem)
        for (level, group), place in places.items():
            at = self.nested.unit_of_code[level][group]
            for array, value in zip(nodes[level], (place.m, place.K, place.C), strict=True):
                array[at] = value
        return nodes

    def places(self, nodes: kernel.Nodes):
        return {
            (level, group): oracle.Placement(*(array[at] for array in nodes[level]))
            for level, positions in enumerate(self.nested.unit_of_code)
            for group, at in enumerate(positions)
        }

    def modes(self, x: np.ndarray):
        ok, nodes = mode_nodes(self.nested, self.inside(x), kernel.new_nodes(self.nested.problem))
        assert ok
        return self.places(nodes)

    def evaluate(self, x: np.ndarray, points: int, places, **options) -> Point:
        rules = hermite_rules(self.nested, (points,) * len(self.design.terms))
        return evaluate(self.nested, self.inside(x), rules, self.arrays(places), **options)

    def score(self, point: Point) -> np.ndarray:
        return np.linalg.solve(self.nested.to_user.T, point.score)

    def hessian(self, point: Point) -> np.ndarray:
        back = np.linalg.inv(self.nested.to_user)
        return back.T @ point.hessian @ back


def engine(design: Design, **options) -> Engine:
    return Engine(design, arrange(design, **options))
