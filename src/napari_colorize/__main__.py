"""`python -m napari_colorize` is the program `napari-colorize`."""

from napari_colorize.cli import main

if __name__ == "__main__":
    main()
