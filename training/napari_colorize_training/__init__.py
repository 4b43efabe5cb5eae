"""Training for napari-colorize: recipes as data, one readable loop, fine-tuning on own images.

Imports the core; the core never imports this. On a bare machine torch, NumPy, Pillow,
scikit-image, safetensors, tqdm and typer are enough: nothing here imports more by itself.
"""
