"""Pictures that are not read are refused by name with the way out; HEIC is read where it can be."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentmix.data import from_path, load
from latentmix.data.decoding import images
from latentmix.data.decoding.images import BadImage, open_image
from latentmix.data.decoding.walk import is_image

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80)  # a beginning without pictures


@pytest.fixture
def no_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_formats", lambda: ("PNG", "JPEG", "TIFF", "BMP"))
    monkeypatch.setattr(images, "_reads_heic", lambda: False)


def classes(folder: Path, *names: str) -> None:
    for k, name in enumerate(names):
        (folder / name).mkdir()
        for i in range(6):
            Image.new("L", (4, 4), 40 * k + i).save(folder / name / f"{i}.png")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.heic", "HEIC, which is read after pip install 'latentmix[heic]'; or save it as JPEG or PNG"),
        ("a.HIF", "HEIC, which is read after"),
        ("a.jxl", "JPEG XL, which is not read; save it as PNG or JPEG"),
        ("a.NEF", "a camera's raw data, which is not read"),
        ("a.svg", "SVG, which is not read"),
        ("a.dcm", "DICOM, which is not read"),
    ],
)
@pytest.mark.usefixtures("no_heic")
def test_a_class_of_pictures_that_are_not_read_is_never_left_out(
    tmp_path: Path, name: str, words: str
) -> None:
    classes(tmp_path, "cats", "dogs")
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / name).write_bytes(HEIC)
    with pytest.raises(ValueError) as error:
        load(from_path(tmp_path), image_size=4)
    assert f"1 of 13 images cannot be used: birds/{name} ({words}" in str(error.value)
    assert "skip_bad=true" in str(error.value)


@pytest.mark.usefixtures("no_heic")
def test_its_content_tells_what_a_wrong_name_hides(tmp_path: Path) -> None:
    for content, words in [
        (HEIC, "HEIC, which is read after"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL, which is not read"),
        (b"%PDF-1.7", "PDF, which is not a picture"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG, which is not read"),
    ]:
        with pytest.raises(BadImage, match=words):
            open_image(content)
        (tmp_path / "picture.jpg").write_bytes(content)
        with pytest.raises(BadImage, match=words):
            open_image(tmp_path / "picture.jpg")


def test_pictures_without_an_ending_are_found_by_their_beginning() -> None:
    assert is_image("IMG_0001", HEIC[:12])
    assert not is_image("clip", b"\0\0\0\x14ftypqt  ")


def test_the_preview_in_raw_data_is_not_taken_for_the_picture() -> None:
    preview, tags = Image.new("RGB", (8, 8), (200, 10, 10)), {254: 1}  # "a reduced version of another one"
    content = io.BytesIO()
    preview.save(content, "TIFF", tiffinfo=tags)
    with pytest.raises(BadImage, match="a preview of another picture"):
        open_image(content.getvalue())
    plain = io.BytesIO()
    preview.save(plain, "TIFF", tiffinfo={254: 0})
    assert np.asarray(open_image(plain.getvalue()))[0, 0].tolist() == [200, 10, 10]


def test_heic_is_read_upright_where_its_reader_is_installed(tmp_path: Path) -> None:
    reader = pytest.importorskip("pillow_heif")
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30] = 255  # the upper left quarter is white
    reader.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6  # held by its side: turned by 90 degrees clockwise
    classes(tmp_path, "cats")
    (tmp_path / "dogs").mkdir()
    for i in range(6):
        Image.fromarray(pixels).save(tmp_path / "dogs" / f"{i}.heic", quality=95, exif=exif.tobytes())
    seen = np.asarray(open_image(tmp_path / "dogs" / "0.heic"))
    assert seen.shape == (60, 40, 3)
    assert seen[5, 35].min() > 230
    assert seen[5, 5].max() < 25
    data = load(from_path(tmp_path), image_size=8)
    assert data.found.formats == {"HEIF": 6, "PNG": 6}
    with pytest.raises(BadImage, match="HEIC, but damaged"):
        open_image(HEIC)


def test_archives_in_archives_and_beside_images(tmp_path: Path) -> None:
    classes(tmp_path, "cats", "dogs")
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for file in sorted(tmp_path.rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path).as_posix())
    with zipfile.ZipFile(tmp_path / "only.zip", "w") as archive:
        archive.writestr("photos.zip", inner.getvalue())
    with pytest.raises(ValueError, match=r"holds no images, only archives: photos\.zip; unpack it"):
        load(from_path(tmp_path / "only.zip"), image_size=4)
    (tmp_path / "only.zip").rename(tmp_path / "more.zip")
    data = load(from_path(tmp_path), image_size=4)
    assert "1 archives, which are not opened here: more.zip" in str(data.found)
    (tmp_path / "more.zip").rename(tmp_path / "test.zip")
    with pytest.raises(ValueError, match=r"test\.zip beside its images, which looks like a split"):
        load(from_path(tmp_path), image_size=4)
