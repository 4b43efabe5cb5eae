import functools
import hashlib
import importlib.util
import os
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from napari_colorize.errors import CheckpointError, OutputError
from napari_colorize.zoo.weights import read_weights, write_weights

SHARED = Path(__file__).parents[2] / "../shared"


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        {
            "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
            "conv.bias": torch.randn(4, generator=generator).half(),
            "norm.num_batches_tracked": torch.tensor(7),
        }
    )


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name in expected:
        assert state[name].dtype == expected[name].dtype
        assert torch.equal(state[name], expected[name])


def bare(state):
    return state


CONTAINERS = {
    "bare": bare,
    "deoldify": lambda state: {
        "model": state,
        "opt": {"f": functools.partial(print), "s": slice(None), "state": {0: torch.ones(2)}},
    },
    "ipol": lambda state: {"state_dict": state, "training_params": {"lr": 1e-3}},
    "ddcolor": lambda state: {"params": state},
    "parameters": lambda state: {
        name: torch.nn.Parameter(value, requires_grad=value.is_floating_point())
        for name, value in state.items()
    },
    "leftovers": lambda state: {**state, "step": 3, "note": "text", 5: torch.ones(1)},
}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_pickled_state_dict_is_extracted_from_any_container(tmp_path, state, container, is_zip):
    path = tmp_path / "network.pth"
    torch.save(CONTAINERS[container](state), path, _use_new_zipfile_serialization=is_zip)

    weights = read_weights(path)

    assert_same(weights.state, state)
    assert not any(value.requires_grad for value in weights.state.values())
    assert weights.metadata == {}
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path, state, protocol, is_zip):
    torch.save(
        CONTAINERS["deoldify"](state),
        tmp_path / "network.pth",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=is_zip,
    )
    assert_same(read_weights(tmp_path / "network.pth").state, state)


def test_weights_are_unchanged_by_safetensors(tmp_path, state):
    path = tmp_path / "network.safetensors"

    write_weights(path, state, {"recipe": "embedded"})

    weights = read_weights(path)
    assert_same(weights.state, state)
    assert weights.metadata == {"recipe": "embedded"}
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]


def test_the_kind_of_a_file_follows_from_its_content(tmp_path, state):
    save_file(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.safetensors")

    assert_same(read_weights(tmp_path / "a.pth").state, state)
    assert_same(read_weights(tmp_path / "b.safetensors").state, state)


def test_views_and_shared_tensors_are_written_as_copies(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    state = {"a": base.T, "b": base, "c": base, "d": base[1:3], "e": base.requires_grad_()}

    write_weights(tmp_path / "network.safetensors", state, {})

    read = read_weights(tmp_path / "network.safetensors").state
    assert_same(read, {name: value.detach() for name, value in state.items()})


def test_a_failed_write_keeps_the_old_file(tmp_path, state):
    path = tmp_path / "network.safetensors"
    write_weights(path, state, {})

    with pytest.raises(TypeError):  # metadata must be text
        write_weights(path, state, {"epoch": 3})

    assert_same(read_weights(path).state, state)
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_keeps_the_old_file(tmp_path, state):
    import resource

    path = tmp_path / "network.safetensors"
    write_weights(path, state, {})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(OutputError, match="could not be written") as caught:
            write_weights(path, {"weight": torch.ones(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)

    assert "\n" not in str(caught.value)
    assert_same(read_weights(path).state, state)
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]


def test_an_unwritable_path_gives_one_sentence(tmp_path, state):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "network.safetensors"

    with pytest.raises(OutputError, match="a part of its path is a file") as caught:
        write_weights(path, state, {})

    assert str(caught.value).startswith(f"{path} could not be written:")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such permissions")
def test_permissions_of_written_weights_follow_the_umask(tmp_path, state):
    (tmp_path / "other").touch()
    write_weights(tmp_path / "network.safetensors", state, {})
    assert (tmp_path / "network.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def saved(state, **options):
    def write(path):
        torch.save(state, path, **options)

    return write


def written(content):
    def write(path):
        path.write_bytes(content)

    return write


def cut(write, keep):
    def write_less(path):
        write(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return write_less


def scripted(path):
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), path)


BIG = {"weight": torch.zeros(64, 64)}
NO_CHECKPOINT = {
    "empty": (written(b""), "is empty"),
    "page": (written(b"<!DOCTYPE html><html>no such file</html>"), "is a web page"),
    "pointer": (written(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    "text": (written(b"these are not the weights\n" * 99), "is damaged or no checkpoint"),
    "json": (written(b'{"weights": {"a": 1}}'), "is damaged or no checkpoint"),
    "image": (written(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9), "is damaged or no checkpoint"),
    "zeros": (written(bytes(5000)), "is damaged or no checkpoint"),
    "one byte": (written(b"\x80"), "is damaged or no checkpoint"),
    "half a zip": (cut(saved(BIG), 0.5), "is damaged or no checkpoint"),
    "half an old file": (
        cut(saved(BIG, _use_new_zipfile_serialization=False), 0.5),
        "is damaged or no checkpoint",
    ),
    "half a safetensors": (
        cut(lambda path: save_file(BIG, path), 0.5),
        "is damaged or no checkpoint",
    ),
    "no tensors": (saved({"model": {"a": 1}}), "contains no weights"),
    "a number": (saved(3), "contains no weights"),
    "a tensor": (saved(torch.ones(3)), "contains no weights"),
    "a network": (saved(torch.nn.Linear(2, 2)), "contains no weights"),
    "nothing": (lambda path: save_file({}, path), "contains no weights"),
    "directory": (lambda path: path.mkdir(), "is not a file"),
    "missing": (lambda path: None, "There is no file"),
}


@pytest.mark.parametrize("case", NO_CHECKPOINT)
def test_files_that_are_no_checkpoint_give_one_sentence(tmp_path, case):
    write, what = NO_CHECKPOINT[case]
    write(tmp_path / "network.pth")

    with pytest.raises(CheckpointError, match=what) as caught:
        read_weights(tmp_path / "network.pth")

    assert str(tmp_path / "network.pth") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit
def test_a_torchscript_archive_is_refused(tmp_path):
    scripted(tmp_path / "network.pt")
    with pytest.raises(CheckpointError, match="TorchScript archive, which contains code"):
        read_weights(tmp_path / "network.pt")


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="the administrator may read everything",
)
def test_an_unreadable_file_gives_one_sentence(tmp_path, state):
    torch.save(state, tmp_path / "network.pth")
    (tmp_path / "network.pth").chmod(0)
    with pytest.raises(CheckpointError, match="could not be read: Permission denied"):
        read_weights(tmp_path / "network.pth")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "network.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        read_weights(tmp_path / "network.pth")


def normalized(state, name):
    """W as torch's spectral norm computes it in eval mode."""
    weight = state[f"{name}.weight_orig"]
    matrix = weight.reshape(len(weight), -1)
    return weight / (state[f"{name}.weight_u"] @ matrix @ state[f"{name}.weight_v"])


@pytest.mark.parametrize("shape", [(8, 5, 3, 3), (6, 7, 1), (1, 9), (5,)])
def test_spectral_norms_of_torch_0_4_1_keep_their_weight(tmp_path, shape):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(shape, generator=generator)
    old = {
        "conv.weight_orig": 3 * weight + 0.01,  # changed by the optimizer after W was computed
        "conv.weight": weight,
        "conv.weight_u": torch.randn(shape[0], generator=generator),
        "conv.bias": torch.zeros(shape[0]),
    }
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)

    state = read_weights(tmp_path / "old.pth").state

    assert state.keys() == {
        f"conv.{key}" for key in ("weight_orig", "weight_u", "weight_v", "bias")
    }
    assert state["conv.weight_v"].shape == (weight[0].numel(),)
    torch.testing.assert_close(normalized(state, "conv"), weight, rtol=1e-6, atol=1e-7)


def test_converted_keys_load_into_the_spectral_norm_of_torch(tmp_path):
    today = torch.nn.utils.spectral_norm(torch.nn.Conv2d(3, 4, 3)).eval()
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    expected = today(image)
    old = {key: value for key, value in today.state_dict().items() if key != "weight_v"}
    torch.save({**old, "weight": today.weight}, tmp_path / "old.pth")

    restored = torch.nn.utils.spectral_norm(torch.nn.Conv2d(3, 4, 3)).eval()
    restored.load_state_dict(read_weights(tmp_path / "old.pth").state, strict=True)

    torch.testing.assert_close(restored(image), expected)


def test_the_v_of_a_weight_norm_is_unchanged(tmp_path):
    state = {
        "a.weight_g": torch.ones(2, 1),
        "a.weight_v": torch.ones(2, 3),
        "a.bias": torch.ones(2),
    }
    torch.save(state, tmp_path / "network.pth")
    assert_same(read_weights(tmp_path / "network.pth").state, state)


@pytest.mark.parametrize("kind", ["deep", "wide"])
def test_a_deoldify_file_of_torch_0_4_1_gets_current_keys(tmp_path, kind):
    keys = SHARED / "parity" / "deoldify" / f"keys_{kind}.txt"
    if not keys.exists():
        pytest.skip("../shared/parity is not here")
    names = [line.split("\t")[0] for line in keys.read_text().splitlines()]
    # Only keys are tested: small tensors with the right number of axes.
    shapes = {name: (2,) if name.endswith(("_u", "_v")) else (2, 1, 1, 2) for name in names}
    normed = {name.removesuffix("_orig") for name in names if name.endswith("weight_orig")}
    old = {
        name: torch.ones(shape)
        for name, shape in shapes.items()
        if not (name.endswith("_v") and name.removesuffix("_v") in normed)
    }
    torch.save({**old, **{name: torch.ones(2, 1, 1, 2) for name in normed}}, tmp_path / "old.pth")

    assert read_weights(tmp_path / "old.pth").state.keys() == set(names)


def test_a_file_of_torch_0_4_1_gives_the_stored_weight(tmp_path):
    helper = SHARED / "parity" / "named_weights.py"
    if not helper.exists():
        pytest.skip("../shared/parity is not here")
    spec = importlib.util.spec_from_file_location("named_weights", helper)
    named_weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(named_weights)
    shapes = {"c.0.weight_orig": (16, 8, 3, 3), "c.0.weight_u": (16,), "c.0.weight": (16, 8, 3, 3)}
    arrays = named_weights.named_weights(shapes)
    old = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save({"model": old, "opt": {}}, tmp_path / "old.pth")

    state = read_weights(tmp_path / "old.pth").state

    torch.testing.assert_close(normalized(state, "c.0"), old["c.0.weight"], rtol=1e-6, atol=1e-7)
