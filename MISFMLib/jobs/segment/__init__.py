"""Segment one case or a batch."""
