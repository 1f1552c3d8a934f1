"""Public data sets: what their downloads look like, checked and brought into one layout."""
