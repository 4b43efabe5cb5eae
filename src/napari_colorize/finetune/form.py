"""Options of a training run with their labels and help texts, and validation of the form.

Shared by the fine-tuning panels of napari and Jupyter; no toolkit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from napari_colorize.errors import SettingsError
from napari_colorize.extras import install_command
from napari_colorize.finetune.training_run import TrainingRequest, missing_packages, runs
from napari_colorize.session.messages import download_note
from napari_colorize.zoo import CATALOGUE, user_models
from napari_colorize.zoo.user_models import new_model_path

MAX_STEPS = 100_000
DEFAULT_NAME = "my-model"
NO_DATA = "Choose training data first: folders or files with color images."
ALREADY_RUNNING = "A training run is already active. Wait until it ends, or stop it first."


@dataclass(frozen=True)
class Choice:
    """An entry of a list: its label, its value for the training command, and its meaning."""

    label: str
    value: str | None
    help: str = ""


@dataclass(frozen=True)
class FormField:
    """A field of the form; `choices` is empty for a field that is no list."""

    label: str
    help: str
    choices: tuple[Choice, ...] = ()

    @property
    def tooltip(self) -> str:
        """The help text, with a line for each choice."""
        lines = [f"{choice.label}: {choice.help}" for choice in self.choices]
        return "\n".join([self.help, *lines])


DATA = FormField(
    "training data",
    "Color images to train on. About 20 % of them are validation images: they are never trained "
    "on, and the reported error is measured on them.",
)
BASE = FormField(
    "base model",
    "Model that is fine-tuned. The embedded model is small and trains fast. Choose your own model "
    "to continue its training.",
)
NAME = FormField(
    "model name",
    "Name of the new model in all model lists. A number is appended if the name is taken.",
)
AUGMENTATION = FormField(
    "augmentation",
    "How training images are varied.",
    (
        Choice("automatic", None, "Stronger for small data sets."),
        Choice("none", "none", "Only cropping, scaling and mirroring."),
        Choice("photographs", "photographs", "Small rotations, brightness and contrast."),
        Choice("stains", "stains", "For histology: any rotation, mirroring and stain intensity."),
    ),
)
DEGRADATION = FormField(
    "degrade gray input",
    "Artificial defects of the grayscale input during training.",
    (
        Choice("none", None, "For clean images."),
        Choice("tone and grain", "tone-and-grain", "Tone changes and film grain."),
        Choice("slightly old", "slightly-old", "For old and modern photographs together."),
        Choice(
            "old photographs",
            "old-photograph",
            "Fading, blur and grain of old prints, small scans.",
        ),
        Choice(
            "old photographs, large scans",
            "old-scan",
            "Tone, fading and emulsions of old prints. Choose color photographs like yours.",
        ),
    ),
)
STEPS = FormField(
    "steps",
    "Maximum number of training steps. 0 is automatic: 300 to 2000, depending on the number of "
    "images. Training always ends earlier when the validation error stops improving.",
)
GROUP = FormField(
    "keep folders together",
    "Use this if a folder holds images of one slide, patient or video: a folder is then used "
    "either for training or for validation, so that the error is not underestimated. Needs at "
    "least three folders.",
)


def base_models() -> list[Choice]:
    """Models to start from, with the download size of those that are not local."""
    return [
        *(Choice(f"{name}{download_note(name)}", name) for name in CATALOGUE),
        *(Choice(f"{path.stem}  (yours)", str(path)) for path in user_models()),
    ]


def require_ready(has_data: bool, *, restart: str) -> None:
    """Raise `SettingsError` if packages or data are missing, or another run is active.

    `restart` names what has to be restarted after an installation, for example "napari".
    """
    packages = missing_packages()
    if packages:
        raise SettingsError(
            f"Training needs {' and '.join(packages)}. Run {install_command('training')} and "
            f"restart {restart}."
        )
    if not has_data:
        raise SettingsError(NO_DATA)
    if any(run.is_running for run in runs()):
        raise SettingsError(ALREADY_RUNNING)


def training_request(
    data: Iterable[str],
    *,
    base: str,
    name: str,
    augment: str | None = None,
    degrade: str | None = None,
    group: str | None = None,
    steps: int | None = None,
) -> TrainingRequest:
    """Make the request for a new model; its file gets a name that is not taken."""
    return TrainingRequest(
        base=base or "embedded",
        data=tuple(data),
        model=str(new_model_path(name)),
        augment=augment,
        degrade=degrade,
        group=group,
        steps=steps or None,
    )
