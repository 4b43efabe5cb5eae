"""The Fine-tune panel: pictures and choices in, a training of its own process, a model out."""

from napari_colorize.napari.finetune.panel import FinetuneWidget

__all__ = ["FinetuneWidget"]
