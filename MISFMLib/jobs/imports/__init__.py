"""Models of other programs become bundles."""
