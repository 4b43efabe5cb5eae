from __future__ import annotations

import pytest
import torch

from napari_colorize.errors import SettingsError
from napari_colorize.runtime.devices import choose_device, choose_dtype


def test_an_unavailable_device_gives_a_list_of_devices():
    for name in ("tpu", "cpu:3", "cuda:99", None):
        with pytest.raises(SettingsError, match=rf"no device '{name}'.*cpu"):
            choose_device(name)


def test_an_unknown_precision_gives_a_list_of_precisions():
    with pytest.raises(SettingsError, match="float32, bfloat16, got 'half'"):
        choose_dtype("half", torch.device("cpu"))


@pytest.mark.parametrize("name", ["cpu", torch.device("cpu")])
def test_a_device_is_selected_by_name(name):
    assert choose_device(name) == torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_is_selected_by_name(precision):
    assert choose_dtype(precision, torch.device("cpu")) is getattr(torch, precision)


def test_auto_is_bfloat16_if_the_hardware_supports_it(monkeypatch):
    for has in (True, False):
        for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda has=has: has, raising=False)

        chosen = choose_dtype("auto", torch.device("cpu"))

        assert chosen is (torch.bfloat16 if has else torch.float32)
