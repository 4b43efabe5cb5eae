import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from napari_colorize.zoo import CATALOGUE, local_path
from napari_colorize.zoo.files import sha256_of


def test_every_name_leads_to_its_own_checkpoint():
    assert {name: checkpoint.name for name, checkpoint in CATALOGUE.items()} == {
        name: name for name in CATALOGUE
    }
    assert next(iter(CATALOGUE)) == "embedded"


@pytest.mark.parametrize("name", [name for name in CATALOGUE if CATALOGUE[name].urls])
def test_what_is_fetched_is_pinned(name):
    checkpoint = CATALOGUE[name]

    assert len(checkpoint.urls) >= 2
    assert all(urlsplit(url).scheme == "https" for url in checkpoint.urls)
    assert len(checkpoint.sha256) == 64
    assert set(checkpoint.sha256) <= set("0123456789abcdef")
    assert checkpoint.size > 100e6


def test_no_two_checkpoints_share_a_file():
    files = [checkpoint.file for checkpoint in CATALOGUE.values()]
    assert len(set(files)) == len(files)


def test_what_the_catalogue_says_of_the_embedded_model_is_true():
    checkpoint = CATALOGUE["embedded"]
    path = local_path(checkpoint)
    if not path.exists():
        pytest.skip("the embedded model is not trained yet")

    assert not checkpoint.urls
    assert checkpoint.sha256 in (None, sha256_of(path))
    assert checkpoint.size in (0, path.stat().st_size)


@pytest.mark.parametrize("heavy", ["torch", "pooch", "requests", "platformdirs", "tqdm"])
def test_looking_at_the_catalogue_is_light(heavy):
    code = "import napari_colorize.zoo, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert heavy not in loaded
