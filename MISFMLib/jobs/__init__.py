"""The jobs of the command line and of Slicer, each composed of the layers below."""
