from __future__ import annotations

import numpy as np
import pytest
import torch

import napari_colorize as nc
from napari_colorize.errors import SettingsError
from napari_colorize.runtime.devices import choose_device, choose_dtype, exact_float32


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


def allows_tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_float32_is_exact_until_the_last_of_its_users_leaves():
    before = allows_tf32()
    assert before[0]

    with exact_float32():
        with exact_float32():
            assert allows_tf32() == (False, False)
        assert allows_tf32() == (False, False)

    assert allows_tf32() == before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="names of torch 2.9")
def test_float32_is_exact_in_a_program_that_uses_the_new_names():
    conv, matmul = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = conv.fp32_precision
    conv.fp32_precision = "ieee"
    with pytest.raises(RuntimeError):  # the names exclude each other
        allows_tf32()
    try:
        values = conv.fp32_precision, matmul.fp32_precision

        with exact_float32():
            assert conv.fp32_precision == matmul.fp32_precision == "ieee"

        assert (conv.fp32_precision, matmul.fp32_precision) == values
    finally:
        conv.fp32_precision = before


def test_predictions_in_float32_are_exact():
    seen = []
    colorizer = nc.Colorizer.from_pretrained(precision="float32")
    colorizer.network.register_forward_hook(lambda *_: seen.append(allows_tf32()))

    colorizer.predict(np.arange(400, dtype=np.uint8).reshape(20, 20), saturation=1)

    assert seen == [(False, False)]
    assert allows_tf32()[0]
