"""Seeing what a network does: where it is sure, and where it looks."""
