"""Training for napari-colorize: recipes, the training loop, fine-tuning and evaluation.

The package imports the core, never the reverse. It imports only torch, NumPy, Pillow, scikit-image,
safetensors, tqdm and typer at once, so that it runs on a training machine with few packages; other
libraries are imported where they are used.
"""

from typing import TYPE_CHECKING

from napari_colorize.lazy_imports import lazy_names

if TYPE_CHECKING:
    from napari_colorize_training.evaluation.evaluate import evaluate
    from napari_colorize_training.evaluation.records import EvaluationConfig
    from napari_colorize_training.evaluation.sheets import example_sheet
    from napari_colorize_training.evaluation.text_report import to_text

__all__ = ["EvaluationConfig", "evaluate", "example_sheet", "to_text"]

_MODULES = {
    "EvaluationConfig": "evaluation.records",
    "evaluate": "evaluation.evaluate",
    "example_sheet": "evaluation.sheets",
    "to_text": "evaluation.text_report",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
