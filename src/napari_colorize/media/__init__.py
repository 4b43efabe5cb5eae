"""Files: pictures in (`images.read_picture`), out (`images.write_picture`), folders of them.

`images` is the door and `picture` says what comes through it; behind it one file per family:
`raster` (all that Pillow knows) with `png16`; `tiff` (in) with `samples` and `ome`; `stack` (out);
`dicom`. What they share has a file each: `formats` (which can hold what), `exif`, `icc`, `reading`,
`atomic` (a file appears whole or not at all).
Nothing here imports torch, and no library for files is imported before a file needs it.
"""
