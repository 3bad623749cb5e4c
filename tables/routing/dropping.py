"""Dropping: routes that were made and fed, and do not take the place of others."""

from __future__ import annotations

from collections.abc import Iterable

from app.bounds.turns import Steps
from tables.cells.cell import Cell
from tables.routing.route import Route


def dropping(routes: Iterable[Route]) -> Steps[list[Cell]]:
    """Drop the spans of routes, a step for each; return their cells, to be freed by steps.

    Nobody has any part of the routes at hand then: they keep the cells.
    """
    cells = list[Cell]()
    for route in routes:
        cells += _drop(route)
        yield
    return cells


def _drop(route: Route) -> list[Cell]:
    layers = [layer for span in route.spans for layer in span.layers.values()]
    for span in route.spans:
        span.drop()
    return [cell for layer in layers for cell in layer.cells.values()]
