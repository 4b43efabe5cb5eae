"""Videos, folders of numbered images and image stacks, colorized frame by frame.

`plan` is the entry point: it checks input and output and combines a source and a sink (interfaces
in `frames`). `runner` moves frames from the source through the model to the sink; `resume` stores
the progress, so that an interrupted command can be repeated.

Videos: `probe` (properties), `ycbcr` (code values), `decoder`; `encoder_options`, `segments`
(encoded parts), `encoder`, `muxing` (with audio and metadata); `lazy_frames` (a video as an array).
Images: `folders`, `stacks`, `ome_zarr`, `intensity_range`.
"""
