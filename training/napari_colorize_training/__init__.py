"""Training for napari-colorize: recipes as data, one readable loop, fine-tuning on own images.

Imports the core; the core never imports this. On a bare machine torch, NumPy, Pillow and
safetensors are enough, so nothing here imports pooch, psygnal or platformdirs.
"""
