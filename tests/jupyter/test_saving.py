"""Save, download, copy as code, and the picture that a saved notebook keeps."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from recorder import SOON

from napari_colorize.errors import ImageError
from napari_colorize.jupyter.saving import as_code, unused_path
from napari_colorize.jupyter.snapshot import MAX_BYTES, take_snapshot


def status(box) -> str:
    return box._status.value


def halves(picture: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Left and right half of a snapshot."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    middle = pixels.shape[1] // 2
    return pixels[:, : middle - 8], pixels[:, middle + 8 :]


def colorfulness(pixels) -> float:
    return float(np.ptp(pixels, axis=-1).mean())


@pytest.mark.parametrize("name", ["colors.png", "colors.ome.tif", "a.b.jpg"])
def test_saving_again_counts_up(box_of, photo, tmp_path, name):
    box = box_of(photo)
    box._saving.path.value = str(tmp_path / name)

    for _ in range(3):
        box._saving.save.click()
        assert "Saved as" in status(box)

    stem, suffix = name.split(".", 1) if name != "a.b.jpg" else ("a.b", "jpg")
    names = {f"{stem}{number}.{suffix}" for number in ("", "-2", "-3")}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert f"{stem}-3.{suffix}" in status(box)


def test_saving_reports_errors_in_the_box(box_of, photo, tmp_path):
    box = box_of(photo)

    for path in (tmp_path / "gone" / "a.png", tmp_path / "a.xyz"):
        box._saving.path.value = str(path)
        box._saving.save.click()
        assert 'class="error"' in status(box)


def test_a_dangling_link_is_not_overwritten(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone")

    assert unused_path(tmp_path / "a.png").name == "a-2.png"


def test_download_sends_the_file_to_the_browser(box_of, photo, sent):
    box = box_of(photo)
    box._saving.path.value = "folder/colors.png"

    box._saving.download.click()

    ((message, (data,)),) = [one for one in sent if one[0]["kind"] == "download"]
    assert message["name"] == "colors.png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), box.result.pixels)


def test_the_copied_code_makes_the_same_image(box_of, photo, tmp_path, sent):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    box = box_of(tmp_path / "photo.png", model="embedded", saturation=1.5, edges=False)
    box.set_settings(render_factor=5)
    box.wait(SOON)

    box._saving.copy.click()

    ((message, _),) = [one for one in sent if one[0]["kind"] == "copy"]
    names: dict[str, object] = {}
    exec(message["text"], names)
    np.testing.assert_array_equal(names["result"].pixels, box.result.pixels)
    assert "Copied:" in status(box)


def test_the_code_names_the_plane_and_the_guides(box_of, photo):
    box = box_of(np.stack([photo] * 3), plane=(2,))
    box.mask = photo > 9
    box.wait(SOON)

    code = as_code(box.session)

    assert "nc.colorize(image[2], model=model, guides=guides)" in code


def test_a_snapshot_shows_gray_and_color(box_of, photo):
    picture = box_of(photo).snapshot()

    left, right = halves(picture.jpeg)
    assert colorfulness(left) < 1 < colorfulness(right)
    bundle = picture._repr_mimebundle_()
    assert base64.b64decode(bundle["image/jpeg"]) == picture.jpeg
    assert "Colors are predicted" in bundle["text/plain"]


def test_without_an_image_there_is_no_snapshot(box_of):
    box = box_of()
    with pytest.raises(ImageError, match="choose one first"):
        box.snapshot()
    assert "image/jpeg" not in box._repr_mimebundle_()


@pytest.mark.parametrize("size", [(3, 5), (2000, 3000), (1, 4000)])
def test_a_snapshot_is_bounded_for_the_worst_images(size):
    random = np.random.default_rng(0)
    gray = random.integers(0, 256, size, np.uint8)

    picture = take_snapshot(gray, random.integers(0, 256, (*size, 3), np.uint8), "noise")

    assert len(picture.html("class")) < MAX_BYTES


def test_the_bundle_of_a_box_has_a_picture_for_pages_without_widgets(box_of, photo):
    bundle = box_of(photo)._repr_mimebundle_()

    assert "application/vnd.jupyter.widget-view+json" in bundle
    _, right = halves(base64.b64decode(bundle["image/jpeg"]))
    assert colorfulness(right) > 1


def test_displaying_a_box_adds_a_hidden_picture_that_follows_it(box_of, photo, monkeypatch):
    published = []
    monkeypatch.setattr(
        "IPython.display.publish_display_data",
        lambda data, **options: published.append((data, options)),
    )
    box = box_of(photo)

    box._ipython_display_()
    (widget, _), (picture, first) = published
    assert set(widget) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    hidden = picture["text/html"].split('"')[1]
    assert hidden in box.children[0].value  # the style sheet hides it while the box is displayed

    box.set_settings(saturation=3)
    box.wait(SOON)
    box._stored.update()
    again, update = published[-1]
    assert update["update"] and update["transient"] == first["transient"]
    assert again["text/html"] != picture["text/html"] and hidden in again["text/html"]

    box._saving.keep.click()
    assert hidden not in published[-1][0]["text/html"]
    count = len(published)
    box._stored.update()
    assert len(published) == count  # what was kept stays


def test_a_box_without_a_result_stores_the_gray_image(box_of, photo):
    from recorder import LayeredNetwork
    from stand_ins import colorizer_of

    from napari_colorize.jupyter import ColorizeBox

    network = LayeredNetwork()
    network.is_blocked = True
    box = ColorizeBox(photo, model=colorizer_of(network))

    picture = box.snapshot(timeout=0.0)
    network.unblock()
    box.close()

    pixels = np.asarray(Image.open(io.BytesIO(picture.jpeg)))
    assert pixels.shape[:2] == photo.shape and np.abs(pixels[..., 0] - photo.astype(int)).mean() < 3


def test_visitors_of_voila_reach_no_files_of_the_server(box_of, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.8")
    Image.fromarray(photo[::-1]).save(tmp_path / "secret.png")
    box = box_of(photo)
    box._saving.path.value = str(tmp_path / "written.png")

    box._images.path.value = str(tmp_path / "secret.png")
    box._references.files.path.value = str(tmp_path / "secret.png")
    box._saving.save.click()
    box.wait(SOON)

    assert box.source is photo and box.reference is None
    assert [path.name for path in tmp_path.iterdir()] == ["secret.png"]
    assert not box._saving.download.disabled
    assert "Keep in notebook" not in [
        button.description for button in box._saving.children[1].children
    ]
    allowed = box_of(photo, files=True)
    allowed._images.path.value = str(tmp_path / "secret.png")
    assert allowed.source is not photo
