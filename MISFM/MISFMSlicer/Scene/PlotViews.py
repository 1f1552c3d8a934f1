"""Curves in Slicer's own plot view: a table, a series for each of its columns, and a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import slicer
import vtk

from .SceneIO import isInScene


class Curves:
    """One chart that is brought up to date as numbers come; nothing is shown before `show`."""

    def __init__(self, title: str, xTitle: str, yTitle: str) -> None:
        """Make no node yet.

        Args:
            title: Of the chart; also the name of its nodes.
            xTitle: Of the axis to the right, and of the table's first column.
            yTitle: Of the axis upwards.
        """
        self._title, self._xTitle, self._yTitle = title, xTitle, yTitle
        self._table: Any = None
        self._chart: Any = None
        self._series: dict[str, Any] = {}
        self._layoutBefore: int | None = None

    @property
    def chart(self) -> Any:
        """The vtkMRMLPlotChartNode; None before there is something to draw."""
        return self._chart if isInScene(self._chart) else None

    @property
    def table(self) -> Any:
        """The vtkMRMLTableNode of the numbers; None before there is something to draw."""
        return self._table if isInScene(self._table) else None

    def update(self, columns: Mapping[str, Sequence[float]], xs: Sequence[float]) -> None:
        """Draw other numbers.

        Args:
            columns: Name of a curve to its heights; nan where it has none.
            xs: Where they are.
        """
        if not xs:
            return
        if self.table is None or self.chart is None:
            self._make()
        wasModifying = self._table.StartModify()
        self._table.RemoveAllColumns()
        self._table.AddColumn(_column(self._xTitle, xs))
        for name, heights in columns.items():
            self._table.AddColumn(_column(name, heights))
        self._table.EndModify(wasModifying)
        for name in columns:
            if not isInScene(self._series.get(name)):
                self._addSeries(name)

    def show(self) -> None:
        """Show the chart in the layout; does nothing without a main window or numbers."""
        layout = slicer.app.layoutManager()
        if layout is None or self.chart is None:
            return
        plots = slicer.modules.plots.logic()
        withPlot = plots.GetLayoutWithPlot(layout.layout)
        if withPlot != layout.layout:
            self._layoutBefore = layout.layout
            layout.setLayout(withPlot)
        plots.ShowChartInLayout(self._chart)

    def remove(self) -> None:
        """Take the nodes out of the scene, and the empty plot out of the layout."""
        layout = slicer.app.layoutManager()
        if self._layoutBefore is not None and layout is not None:
            plots = slicer.modules.plots.logic()
            if layout.layout == plots.GetLayoutWithPlot(self._layoutBefore):
                layout.setLayout(self._layoutBefore)
        self._layoutBefore = None
        for node in (*self._series.values(), self._chart, self._table):
            if isInScene(node):
                slicer.mrmlScene.RemoveNode(node)
        self._series, self._chart, self._table = {}, None, None

    def _make(self) -> None:
        self.remove()
        self._table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", self._title)
        self._chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", self._title)
        self._chart.SetTitle(self._title)
        self._chart.SetXAxisTitle(self._xTitle)
        self._chart.SetYAxisTitle(self._yTitle)

    def _addSeries(self, name: str) -> None:
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(self._table.GetID())
        series.SetXColumnName(self._xTitle)
        series.SetYColumnName(name)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
        series.SetUniqueColor()
        self._chart.AddAndObservePlotSeriesNodeID(series.GetID())
        self._series[name] = series


def curvesOf(
    metrics: Mapping[int, Mapping[str, float]], prefix: str
) -> tuple[list[int], dict[str, list[float]]]:
    """Return steps and curves of the numbers whose names start with a prefix.

    Args:
        metrics: Step to names and numbers, as a training tells them.
        prefix: Such as ``dice/``, which is taken off the names; or a whole name.
    """
    names = sorted({n for numbers in metrics.values() for n in numbers if n.startswith(prefix)})
    steps = [step for step in sorted(metrics) if any(name in metrics[step] for name in names)]
    curves = {
        name.removeprefix(prefix) or name: [metrics[step].get(name, math.nan) for step in steps]
        for name in names
    }
    return steps, curves


def _column(name: str, values: Sequence[float]) -> Any:
    column = vtk.vtkDoubleArray()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(math.nan if value is None else float(value))
    return column
