"""Files: pictures in (`images.read_picture`), out (`images.write_picture`), folders of them.

`images` is the door and `picture` says what comes through it; behind it one file per family:
`raster` (all that Pillow knows) with `png16`; `tiff` (in) with `samples` and `ome`; `stack` (out);
`dicom`. What they share has a file each: `formats` (which can hold what), `exif`, `icc`, `reading`,
`atomic` (a file appears whole or not at all). `jobs`, `batch` and `task` take folders through a
model, `cluster` and `manifest` do it on many machines; `guiding` reads what a person gives beside a
picture, `maps` draws what a model does not know. Films, frames and stacks are in `film`.
Nothing here imports torch, and no library for files is imported before a file needs it.
"""
