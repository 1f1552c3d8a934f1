"""The parts of the Slicer application: scene and logics, files, views, modules, windows."""
