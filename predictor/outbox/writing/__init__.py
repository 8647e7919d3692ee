"""Segments while they are written: append, fsync, a second copy when the disk takes one back."""
