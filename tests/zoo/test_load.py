"""Names and paths of checkpoints; artificial architectures keep the files small."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_colorize import networks, zoo
from napari_colorize.errors import CheckpointError, UnknownModelError
from napari_colorize.networks import Architecture
from napari_colorize.zoo import CATALOGUE, resolve
from napari_colorize.zoo.weights import write_weights


@pytest.fixture(autouse=True)
def small_world(tmp_path, monkeypatch):
    """Two architectures, identified by one key each, and an empty cache."""

    def made_up(name, key, **recommended):
        return Architecture(
            name=name,
            build=lambda state: torch.nn.Identity(),
            matches=lambda state: key in state,
            create=torch.nn.Identity,
            input_space="rgb",
            output_space="rgb",
            normalized=True,
            multiple=2,
            has_self_attention=True,
            bytes_per_pixel=1,
            **recommended,
        )

    known = {
        "round": made_up("round", "circle", render_factor=12, saturation=2.0, fit="aspect"),
        "edged": made_up("edged", "square", render_factor=35),
    }
    monkeypatch.setattr(networks, "ARCHITECTURES", known, raising=False)
    monkeypatch.setattr(
        networks,
        "identify",
        lambda state: next((a for a in known.values() if a.matches(state)), None),
        raising=False,
    )
    monkeypatch.setenv("NAPARI_COLORIZE_CACHE", str(tmp_path / "cache"))


def test_names_and_paths_are_resolved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here").touch()

    assert resolve("deoldify-stable") is CATALOGUE["deoldify-stable"]
    assert resolve("network.pth") == Path("network.pth")
    assert resolve("network.SAFETENSORS") == Path("network.SAFETENSORS")
    assert resolve("folder/network") == Path("folder/network")
    assert resolve(Path("network")) == Path("network")
    assert resolve("here") == Path("here")
    assert resolve("~/network.pth") == Path.home() / "network.pth"


@pytest.mark.parametrize("name", ["deoldify", "", "a\0b"])
def test_an_unknown_name_gives_a_list_of_models(name):
    with pytest.raises(UnknownModelError) as caught:
        zoo.load(name)
    assert "embedded, deoldify-artistic, deoldify-stable, deoldify-video" in str(caught.value)


def test_a_misspelled_name_gives_the_right_one():
    with pytest.raises(UnknownModelError, match="Did you mean 'embedded'"):
        zoo.load("Embedded")


@pytest.mark.parametrize("name", [None, 3])
def test_a_model_that_is_no_name_is_refused_with_its_type(name):
    with pytest.raises(UnknownModelError, match=f"name or .* path .* got {type(name).__name__}"):
        zoo.load(name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_works_wherever_a_name_does(tmp_path, suffix, kind):
    path = tmp_path / f"my network{suffix}"
    if suffix == ".pth":
        torch.save({"circle": torch.ones(3)}, path)
    else:
        write_weights(path, {"circle": torch.ones(3)}, {})

    checkpoint, weights = zoo.load(kind(path))

    assert torch.equal(weights.state["circle"], torch.ones(3))
    assert (checkpoint.name, checkpoint.architecture) == ("my network", "round")
    assert (checkpoint.render_factor, checkpoint.saturation, checkpoint.fit) == (12, 2.0, "aspect")
    assert checkpoint.sha256 == weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.size == path.stat().st_size
    assert zoo.fetch(checkpoint) == path


def test_the_architecture_follows_from_the_keys_not_the_name(tmp_path):
    path = tmp_path / "ColorizeStable_gen.pth"
    torch.save({"square": torch.ones(3)}, path)
    assert zoo.load(path)[0].architecture == "edged"


def test_a_file_of_the_catalogue_is_verified_and_identified_by_its_keys(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "ColorizeVideo_gen.pth"
    path.parent.mkdir()
    torch.save({"model": {"circle": torch.ones(3)}, "opt": {"s": slice(None)}}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(
        CATALOGUE,
        "deoldify-video",
        replace(CATALOGUE["deoldify-video"], sha256=sha256, size=path.stat().st_size),
    )

    checkpoint, weights = zoo.load("deoldify-video")

    assert weights.state.keys() == {"circle"}
    assert weights.sha256 == sha256
    assert checkpoint == replace(CATALOGUE["deoldify-video"], architecture="round")


def test_the_checksum_of_the_packaged_model_is_computed_on_load(tmp_path, monkeypatch):
    path = tmp_path / "embedded.safetensors"
    write_weights(path, {"circle": torch.ones(3)}, {"made": "here"})
    embedded = replace(CATALOGUE["embedded"], file=str(path), sha256=None, size=0)
    monkeypatch.setitem(CATALOGUE, "embedded", embedded)

    checkpoint, weights = zoo.load("embedded")

    assert weights.metadata == {"made": "here"}
    assert checkpoint.sha256 == weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.size == path.stat().st_size


def test_a_critic_is_refused_with_the_known_architectures(tmp_path):
    path = tmp_path / "ColorizeArtistic_crit.pth"
    torch.save({"0.weight": torch.ones(3)}, path)

    with pytest.raises(CheckpointError) as caught:
        zoo.load(path)

    assert str(caught.value) == (
        f"{path} is of no known architecture. It must contain weights of one of round, edged "
        "(of DeOldify a generator, *_gen.pth, not a critic)."
    )


def test_a_missing_path_gives_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="There is no file"):
        zoo.load(tmp_path / "nothing.pth")


@pytest.mark.parametrize(
    ("metadata", "factor", "saturation"),
    [
        ({"render_factor": "20", "saturation": "1.5"}, 20, 1.5),
        ({"render_factor": "20"}, 20, 2.0),
        ({"render_factor": "100", "saturation": "4"}, 100, 4.0),  # the ends of the ranges
        ({"render_factor": "1", "saturation": "0"}, 1, 0.0),
        ({"render_factor": "1000", "saturation": "much"}, 12, 2.0),
        ({}, 12, 2.0),
    ],
)
def test_metadata_recommend_settings_within_their_range(tmp_path, metadata, factor, saturation):
    write_weights(tmp_path / "mine.safetensors", {"circle": torch.ones(1)}, metadata)

    checkpoint, _ = zoo.load(tmp_path / "mine.safetensors")

    assert (checkpoint.render_factor, checkpoint.saturation) == (factor, saturation)


@pytest.mark.parametrize(
    ("metadata", "rule"),
    [
        ({"contrast_limits": "percentile"}, "percentile"),
        ({"contrast_limits": "auto"}, None),
        ({"contrast_limits": "best"}, None),
        ({}, None),
    ],
)
def test_metadata_have_the_rule_for_the_intensity_range(tmp_path, metadata, rule):
    write_weights(tmp_path / "mine.safetensors", {"circle": torch.ones(1)}, metadata)

    checkpoint, _ = zoo.load(tmp_path / "mine.safetensors")

    assert checkpoint.contrast_limits == rule


def test_the_license_comes_from_the_metadata(tmp_path):
    write_weights(tmp_path / "free.safetensors", {"circle": torch.ones(1)}, {"license": "CC0-1.0"})
    write_weights(tmp_path / "mute.safetensors", {"circle": torch.ones(1)}, {})

    licenses = [zoo.load(tmp_path / f"{name}.safetensors")[0].license for name in ("free", "mute")]

    assert licenses == ["CC0-1.0", "unknown"]
