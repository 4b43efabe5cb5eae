"""The Fine-tune panel: training data and options, a training process, and the new model."""

from napari_colorize.napari.finetune.panel import FinetuneWidget

__all__ = ["FinetuneWidget"]
