import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from napari_colorize.zoo import CATALOGUE, local_path
from napari_colorize.zoo.download import sha256_of


def test_every_key_is_the_name_of_its_checkpoint():
    assert {name: checkpoint.name for name, checkpoint in CATALOGUE.items()} == {
        name: name for name in CATALOGUE
    }
    assert next(iter(CATALOGUE)) == "embedded"


@pytest.mark.parametrize("name", [name for name in CATALOGUE if CATALOGUE[name].urls])
def test_downloads_have_urls_and_checksums(name):
    checkpoint = CATALOGUE[name]

    assert len(checkpoint.urls) >= 2
    assert all(urlsplit(url).scheme == "https" for url in checkpoint.urls)
    assert len(checkpoint.sha256) == 64
    assert set(checkpoint.sha256) <= set("0123456789abcdef")
    assert checkpoint.size > 100e6


def test_no_two_checkpoints_share_a_file():
    files = [checkpoint.file for checkpoint in CATALOGUE.values()]
    assert len(set(files)) == len(files)


def test_the_entry_of_the_embedded_model_matches_its_file():
    checkpoint = CATALOGUE["embedded"]
    path = local_path(checkpoint)
    if not path.exists():
        pytest.skip("the embedded model is not trained yet")

    assert not checkpoint.urls
    assert checkpoint.sha256 in (None, sha256_of(path))
    assert checkpoint.size in (0, path.stat().st_size)


def test_importing_the_catalogue_is_cheap():
    code = "import napari_colorize.zoo, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()

    assert not {"torch", "requests", "platformdirs", "tqdm"} & set(loaded)
