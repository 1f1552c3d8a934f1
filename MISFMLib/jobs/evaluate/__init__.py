"""Compare segmentations with their references."""
