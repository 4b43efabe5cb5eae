"""Training for napari-colorize: recipes, the training loop, fine-tuning and evaluation.

The package imports the core, never the reverse. It imports only torch, NumPy, Pillow, scikit-image,
safetensors, tqdm and typer at once, so that it runs on a training machine with few packages; other
libraries are imported where they are used.
"""
