"""Volumes and label maps in memory and on disk."""
