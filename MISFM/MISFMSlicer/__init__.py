"""What the Slicer module is made of; a package, since Slicer loads loose files as modules."""
