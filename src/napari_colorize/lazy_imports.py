"""Lazy public names of a package: a module is imported on first use of its name (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of the package with this `__name__`.

    `modules` maps public names to the modules of the package that define them.
    """

    def getattribute(name: str) -> Any:
        """Import the module of a name on first use."""
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f"{package}.{modules[name]}"), name)
        except ModuleNotFoundError as error:
            from napari_colorize.extras import missing_extra

            raise (missing_extra(error) or error) from None
        setattr(sys.modules[package], name, value)  # later uses do not call this function
        return value

    def directory() -> list[str]:
        return sorted({*sys.modules[package].__all__, *modules})

    return getattribute, directory
