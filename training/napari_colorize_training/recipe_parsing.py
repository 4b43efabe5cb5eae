"""Recipe tables: plain dicts and lists to dataclasses, with old key names accepted.

Recipe files, `--set` options, saved run states and checkpoint metadata all hold tables of this
kind. Every one of them passes `upgrade_keys` before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from napari_colorize.errors import SettingsError

# Old key -> new key, with dots between tables; positions in lists are left out.
RENAMED_KEYS = {
    "settles": "notes",
    "shown": "export",
    "snapshots": "snapshot_epochs",
    "data.shrink": "crop_scale",
    "data.mirror": "horizontal_flip",
    "optimizer.clip": "clip_grad_norm",
    "optimizer.average": "ema_decay",
    "optimizer.lora": "lora_rank",
    "loss.features": "feature_weights",
    "loss.noise": "noise_weight",
    "loss.colorfulness": "colorfulness_weight",
    "loss.classes.coding": "encoding",
    "loss.classes.weighing": "weighting",
    "loss.classes.heaviest": "max_weight",
    "loss.classes.regression": "regression_weight",
    "loss.classes.every": "pixel_stride",
    "critic.maps": "feature_layers",
    "critic.smoothing": "label_smoothing",
    "stages.unfrozen": "trainable",
    "stages.norm_statistics": "batch_norm",
    "stages.critic_until": "critic_loss_threshold",
    "stages.noise": "noise_consistency",
    "stages.features": "feature_loss",
    "stages.keep_every": "checkpoint_every",
    "stages.cycled": "in_cycle",
}
RENAMED_VALUES = {
    "stages.trainable": {"later": "except_first"},
    "stages.batch_norm": {"move": "update", "learn": "train", "kept": "frozen_encoder"},
}


def upgrade_keys(table: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Return a copy of a recipe's table with old keys and values replaced by the present ones.

    Raises
    ------
    SettingsError
        If the table has a key under its old and its new name.
    """
    upgraded: dict[str, Any] = {}
    for key, value in table.items():
        new = RENAMED_KEYS.get(f"{parent}{key}", key)
        if new in upgraded or (new != key and new in table):
            raise SettingsError(
                f"The recipe has {parent}{key} and {parent}{new}, two names of one value; "
                f"remove {parent}{key}."
            )
        upgraded[new] = _upgrade_value(value, f"{parent}{new}")
    return upgraded


def _upgrade_value(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return upgrade_keys(value, f"{name}.")
    if isinstance(value, list | tuple):
        return [_upgrade_value(item, name) for item in value]
    return RENAMED_VALUES.get(name, {}).get(value, value) if isinstance(value, str) else value


def set_value(table: Any, name: str, value: Any) -> None:
    """Set a value of a recipe's table by its dotted name; old names are accepted.

    Raises
    ------
    SettingsError
        If a part of the name is no table, or no position of a list.
    """
    *path, last = _upgrade_name(name).split(".")
    for part in path:
        table = _item(table, part, name) if isinstance(table, list) else table.setdefault(part, {})
        if not isinstance(table, dict | list):
            raise SettingsError(f"{name!r} cannot be set: {part!r} is a value, not a table.")
    if isinstance(table, list):
        _item(table, last, name)
        table[int(last)] = value
    else:
        table[last] = value


def _upgrade_name(name: str) -> str:
    parts = name.split(".")
    keys: list[str] = []
    for position, part in enumerate(parts):
        if not part.isdigit():
            keys.append(part)
            parts[position] = RENAMED_KEYS.get(".".join(keys), part)
    return ".".join(parts)


def _item(items: list[Any], number: str, name: str) -> Any:
    if not number.isdigit() or int(number) >= len(items):
        raise SettingsError(
            f"{name!r} cannot be set: {number!r} is not one of 0 to {len(items) - 1}."
        )
    return items[int(number)]


def build_dataclass(kind: Any, table: Mapping[str, Any], parent: str = "") -> Any:
    """Return an instance of a dataclass from a table; nested tables become dataclasses, too.

    Raises
    ------
    SettingsError
        If a key is unknown or missing, or a value is of the wrong type.
    """
    if not isinstance(table, Mapping):
        raise SettingsError(f"The recipe's {parent.rstrip('.') or 'content'} must be a table.")
    known = {item.name: item for item in fields(kind)}
    for name in table:
        if name not in known:
            raise SettingsError(
                f"Recipes have no key {parent}{name}. Available: {', '.join(known)}."
            )
    required = [
        name
        for name, item in known.items()
        if item.default is MISSING and item.default_factory is MISSING and name not in table
    ]
    if required:
        raise SettingsError(f"The recipe lacks {parent}{required[0]}.")
    types = get_type_hints(kind)
    return kind(**{k: _convert(types[k], v, f"{parent}{k}") for k, v in table.items()})


def _convert(kind: Any, value: Any, name: str) -> Any:
    """Return a TOML value as the type of its field; SettingsError if it is of another type."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        choices = [choice for choice in get_args(kind) if choice is not type(None)]
        return None if value is None else _convert(choices[0], value, name)
    if is_dataclass(kind):
        return build_dataclass(kind, value, f"{name}.")
    if origin is tuple:
        inner, *rest = get_args(kind)
        length = None if rest == [Ellipsis] else 1 + len(rest)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            count = f"{length} values" if length else "values"
            raise SettingsError(f"{name} must be a list of {count}, not {value!r}.")
        return tuple(_convert(inner, item, f"{name}.{n}") for n, item in enumerate(value))
    if origin is Literal:
        if value not in get_args(kind):
            choices_text = ", ".join(map(str, get_args(kind)))
            raise SettingsError(f"{name} is {value!r}; choose one of: {choices_text}.")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise SettingsError(f"{name} must be a table, not {value!r}.")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SettingsError(f"{name} must be of type {kind.__name__}, not {value!r}.")
    return value
