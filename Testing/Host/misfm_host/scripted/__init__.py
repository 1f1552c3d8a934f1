"""The Python modules of Slicer that its wheel lacks."""
