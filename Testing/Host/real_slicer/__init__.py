"""The real 3D Slicer behind the interface of the stand-in, so that the same tests run in both."""
