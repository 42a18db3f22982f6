"""Alignment losses, one file each."""
