"""Colorize many image files.

`discovery` finds files and `naming` decides every output name before anything is decoded. `runner`
processes the files in this process, `dask_cluster` on the workers of a cluster with a `manifest` of
what is done; `task` is what both do with one file. `guide_files` reads masks, hints and reference
images; `contact_sheet` lays images out in a grid.
"""
