"""Colorize many image files: discovery, naming, the reader/writer pipeline, dask clusters."""
