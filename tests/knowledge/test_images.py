import io
import os

import pytest

pytest.importorskip("PIL")
from PIL import Image

from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge import images
from modeling_cotpd.knowledge.images import ImageProblem, image_folder, list_images, load_image, resolve_image


def reason_of(call, *arguments):
    with pytest.raises(ImageProblem) as caught:
        call(*arguments)
    return caught.value.reason


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "pictures"
    (inside / "2017").mkdir(parents=True)
    Image.new("RGB", (8, 6), "red").save(inside / "2017" / "a.png")
    Image.new("RGB", (8, 6), "blue").save(tmp_path / "secret.png")
    return image_folder(inside)


def test_names_inside_the_folder_are_found(folder):
    assert list_images(folder) == ["2017/a.png"]
    assert resolve_image(folder, "2017/a.png") == folder / "2017" / "a.png"


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("b.jpg", ["b", "b.jpg", "b.JPG", "b.jpeg"]),
        ("b.JPEG", ["b", "b.jpg"]),
        ("b.Png", ["b", "b.png"]),
        ("b.1.png", ["b.1"]),
    ],
)
def test_the_suffix_may_be_missing_or_spelt_otherwise(folder, file, names):
    (folder / file).write_bytes(b"x")
    assert {resolve_image(folder, name).name for name in names} == {file}
    assert reason_of(resolve_image, folder, "b.gif") == reason_of(resolve_image, folder, "B") == "missing"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "2017/../../secret.png",
        "2017/../2017/a.png",
        "..\\secret.png",
        "2017\\a.png",
        "C:/a.png",
        "a\0.png",
        "",
    ],
)
def test_names_that_could_lead_outside_are_refused_unopened(folder, name, monkeypatch):
    monkeypatch.setattr(type(folder), "resolve", lambda *_: pytest.fail("touched the disk"))
    assert reason_of(resolve_image, folder, name) == "outside"


def test_absolute_names_are_refused(folder):
    assert reason_of(resolve_image, folder, str(folder.parent / "secret.png")) == "outside"


def test_links_that_lead_outside_are_refused(folder):
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "up").symlink_to(folder.parent)
    assert reason_of(resolve_image, folder, "link.png") == "outside"
    assert reason_of(resolve_image, folder, "up/secret.png") == "outside"


def test_a_sibling_folder_with_the_same_beginning_is_outside(folder):
    sibling = folder.parent / "pictures-private"
    sibling.mkdir()
    Image.new("RGB", (2, 2)).save(sibling / "x.png")
    (folder / "link.png").symlink_to(sibling / "x.png")
    assert reason_of(resolve_image, folder, "link.png") == "outside"


def test_a_link_within_the_folder_is_fine(folder):
    (folder / "link.png").symlink_to(folder / "2017" / "a.png")
    assert resolve_image(folder, "link.png") == folder / "2017" / "a.png"


def test_missing_empty_and_special_files(folder):
    (folder / "empty.png").touch()
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    assert reason_of(resolve_image, folder, "none.png") == "missing"
    assert reason_of(resolve_image, folder, "loop.png") == "missing"
    assert reason_of(resolve_image, folder, "x" * 5000) == "missing"
    assert reason_of(resolve_image, folder, "\ud800.png") == "missing"
    assert reason_of(resolve_image, folder, "empty.png") == "empty file"
    assert reason_of(resolve_image, folder, "pipe.png") == "not a file"
    assert reason_of(resolve_image, folder, "2017") == "not a file"


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(DataError, match="no such image folder"):
        image_folder(tmp_path / "none")


def saved(tmp_path, image, name="x.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("CMYK", "x.jpg"),
        ("L", "x.jpg"),
        ("1", "x.png"),
        ("LA", "x.png"),
        ("P", "x.gif"),
        ("RGBA", "x.webp"),
        ("I;16", "x.png"),
        ("F", "x.tiff"),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, name):
    image = load_image(saved(tmp_path, Image.new(mode, (9, 7)), name))
    assert (image.mode, image.size) == ("RGB", (9, 7))


def test_transparency_lies_on_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert load_image(saved(tmp_path, clear)).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30] * 256)
    path = saved(tmp_path, palette, "p.png", transparency=0)
    assert load_image(path).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    half = Image.new("I;16", (4, 4), 32768)
    assert load_image(saved(tmp_path, half)).getpixel((0, 0)) == (128, 128, 128)


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    red, blue = Image.new("RGB", (5, 5), "red"), Image.new("RGB", (5, 5), "blue")
    path = saved(tmp_path, red, "x.gif", save_all=True, append_images=[blue])
    assert load_image(path).getpixel((0, 0)) == (255, 0, 0)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(saved(tmp_path, Image.new("RGB", (8, 4)), "x.jpg", exif=exif)).size == (4, 8)


def test_broken_exif_costs_no_picture(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (8, 4)), "x.jpg", exif=b"Exif\0\0" + b"\xff" * 40)
    assert load_image(path).size == (8, 4)


def test_corrupt_files_are_reported(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(buffer, "JPEG")
    whole = buffer.getvalue()
    for number, content in enumerate(
        [whole[: len(whole) // 2], b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"<html>404</html>"]
    ):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(content)
        assert reason_of(load_image, path) == "corrupt"


def test_postscript_is_never_handed_to_an_outside_program(tmp_path):
    path = tmp_path / "x.jpg"
    Image.new("RGB", (4, 4)).save(path, "EPS")
    assert reason_of(load_image, path) == "corrupt"


def test_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("1", (20_000, 20_000)), "x.png")
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    assert reason_of(load_image, path) == "too large"


def test_strips_are_refused(tmp_path):
    assert reason_of(load_image, saved(tmp_path, Image.new("L", (101, 1)))) == "too long"
    assert load_image(saved(tmp_path, Image.new("L", (100, 1)))).size == (100, 1)


def test_problem_details_hold_no_path(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"no picture")
    with pytest.raises(ImageProblem) as caught:
        images.load_image(path)
    assert str(tmp_path) not in caught.value.detail
