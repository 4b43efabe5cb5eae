"""Read and write image files.

`images` is the entry point (`read_image`, `write_image`); `image_record` defines what is read. Each
family of formats has its own modules: `raster` (everything that Pillow supports) with `png` and
`bit_depth`; `other_formats` (what imagecodecs, pillow-heif or NumPy decode); `tiff_reader` with
`tiff_samples`, `tiff_pages` and `ome`; `tiff_writer`; `dicom` with `dicom_decoder` and
`dicom_gray`. They share `formats` (the capabilities of each format), `file_names`, `exif`,
`text_metadata` (XMP, IPTC, comments), `icc`, `decoder_messages`, `limits` and `decoded_stack` (also
the base of videos). No module imports torch, and a file library is
imported only when a file needs it.
"""
