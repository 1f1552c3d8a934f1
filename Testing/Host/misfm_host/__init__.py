"""A stand-in for the 3D Slicer application on its `slicer-core` wheel and PySide6."""
