"""Images of a built site: out of the pages, smaller, never worse."""

import base64
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from automation.runtime.assets import MAX_PIXELS, Optimized, optimize_site, replace_images


def noise(width: int = 64, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A picture that compresses badly, so that quality shows in its size."""
    bands = len(mode)
    return Image.frombytes(mode, (width, height), random.Random(7).randbytes(width * height * bands))


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int = 1) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    data[0x010F] = "Camera maker" * 50
    return data


def data_url(data: bytes, kind: str = "jpeg") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def site(tmp_path: Path, *urls: str, page: str = "index.html") -> Path:
    file = tmp_path / page
    file.parent.mkdir(parents=True, exist_ok=True)
    pictures = "".join(f'<img alt="x" src="{url}">' for url in urls)
    file.write_text(f"<!doctype html><body>{pictures}</body>")
    return tmp_path


def optimize(folder: Path, *, quality: int = 85, recompress: bool = True) -> Optimized:
    return optimize_site(folder, quality=quality, recompress=recompress)


def only_asset(folder: Path) -> Path:
    [file] = (folder / "assets").iterdir()
    return file


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_an_image_inside_a_page_becomes_a_smaller_file_beside_it(tmp_path: Path) -> None:
    original = encode(noise(), quality=100)
    folder = site(tmp_path, data_url(original))
    report = optimize(folder)
    file = only_asset(folder)
    assert f'<img alt="x" src="assets/{file.name}">' in (folder / "index.html").read_text()
    assert file.stat().st_size < len(original)
    with Image.open(file) as image:
        assert image.size == (64, 64)
    assert (report.extracted, report.files, report.warnings) == (1, {f"assets/{file.name}"}, [])
    assert report.bytes_after == size_of(folder) < report.bytes_before


def test_pages_in_sub_folders_refer_to_the_same_file(tmp_path: Path) -> None:
    url = data_url(encode(noise(), quality=100))
    for page in ("index.html", "about/index.html", "shop/shoes/index.html"):
        site(tmp_path, url, page=page)
    optimize(tmp_path)
    name = only_asset(tmp_path).name
    assert f'src="../assets/{name}"' in (tmp_path / "about/index.html").read_text()
    assert f'src="../../assets/{name}"' in (tmp_path / "shop/shoes/index.html").read_text()


def test_quality_decides_about_the_size(tmp_path: Path) -> None:
    url = data_url(encode(noise(), quality=100))
    sizes = []
    for quality in (30, 85):
        folder = site(tmp_path / str(quality), url)
        optimize(folder, quality=quality)
        sizes.append(only_asset(folder).stat().st_size)
    assert sizes[0] < sizes[1]


def test_without_recompression_the_file_has_the_bytes_of_the_page(tmp_path: Path) -> None:
    original = encode(noise(), quality=100)
    folder = site(tmp_path, data_url(original))
    optimize(folder, recompress=False)
    assert only_asset(folder).read_bytes() == original


@pytest.mark.parametrize("quality", [20, 100])
def test_what_the_camera_wrote_into_a_picture_is_gone(tmp_path: Path, quality: int) -> None:
    original = encode(noise(), quality=quality, exif=exif(), comment=b"secret")
    folder = site(tmp_path, data_url(original))
    optimize(folder)
    file = only_asset(folder)
    assert b"Camera" not in file.read_bytes()
    assert b"secret" not in file.read_bytes()
    assert file.stat().st_size < len(original)


def test_a_picture_taken_with_a_turned_camera_still_stands_upright(tmp_path: Path) -> None:
    folder = site(tmp_path, data_url(encode(noise(80, 40), quality=100, exif=exif(6))))
    optimize(folder)
    with Image.open(only_asset(folder)) as image:
        assert image.size == (40, 80)
        assert dict(image.getexif()) == {}


def visible(image: Image.Image) -> list[tuple[int, ...]]:
    """The pixels that are not wholly transparent."""
    data = image.tobytes()
    pixels = (tuple(data[start : start + 4]) for start in range(0, len(data), 4))
    return [pixel for pixel in pixels if pixel[3]]


def test_a_drawing_keeps_every_pixel_and_its_transparency(tmp_path: Path) -> None:
    drawing = noise(mode="RGBA").point(lambda value: value // 64 * 64)
    careless = {"PNG": {"compress_level": 0}, "WEBP": {"lossless": True, "method": 0, "quality": 0}}
    for kind, options in careless.items():
        folder = site(tmp_path / kind, data_url(encode(drawing, kind, **options), kind.lower()))
        optimize(folder)
        with Image.open(only_asset(folder)) as image:
            assert visible(image.convert("RGBA")) == visible(drawing)


def test_an_animation_keeps_its_bytes(tmp_path: Path) -> None:
    frames = [noise(mode="L").point(lambda value, add=add: (value + add) % 256) for add in (0, 50)]
    original = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    folder = site(tmp_path, data_url(original, "gif"))
    optimize(folder)
    assert only_asset(folder).read_bytes() == original


def test_the_type_of_a_file_is_what_it_is_and_not_what_the_page_says(tmp_path: Path) -> None:
    folder = site(tmp_path, data_url(encode(noise(), quality=100), "png"))
    optimize(folder)
    assert only_asset(folder).suffix == ".jpg"


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it has that size, in a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 500))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no image at all, but long enough to be worth a file of its own" * 3, "cannot be read"),
        (encode(noise(), quality=90)[:900], "cannot be read"),
        (bomb(MAX_PIXELS // 1000, 1001), "pixels"),
        (bomb(12_000, 10_000), "pixels"),
        (bomb(60_000, 60_000), "pixels"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>' * 3, "cannot be read"),
    ],
)
def test_what_is_broken_or_a_bomb_stays_with_a_warning(tmp_path: Path, data: bytes, why: str) -> None:
    folder = site(tmp_path, data_url(data, "png"))
    before = (folder / "index.html").read_bytes()
    report = optimize(folder)
    assert (folder / "index.html").read_bytes() == before
    [warning] = report.warnings
    assert "index.html" in warning
    assert why in warning
    assert not (folder / "assets").exists()


def test_a_tiny_image_stays_in_the_page(tmp_path: Path) -> None:
    folder = site(tmp_path, data_url(encode(Image.new("P", (1, 1)), "GIF"), "gif"), page="a/b/c/d/index.html")
    before = size_of(folder)
    assert optimize(folder).extracted == 0
    assert size_of(folder) == before


def test_run_again_it_changes_nothing(tmp_path: Path) -> None:
    folder = site(tmp_path, data_url(encode(noise(), quality=100)))
    optimize(folder)
    before = {file: (file.read_bytes() if file.is_file() else b"") for file in folder.rglob("*")}
    assert optimize(folder).extracted == 0
    assert {file: (file.read_bytes() if file.is_file() else b"") for file in folder.rglob("*")} == before


def test_a_run_that_was_killed_between_file_and_page_is_finished_by_the_next(tmp_path: Path) -> None:
    url = data_url(encode(noise(), quality=100))
    folder = site(tmp_path, url)
    before = (folder / "index.html").read_text()
    optimize(folder)
    after = (folder / "index.html").read_text()
    (folder / "index.html").write_text(before)
    optimize(folder)
    assert (folder / "index.html").read_text() == after
    assert only_asset(folder)


def test_a_text_that_looks_like_an_image_is_left_to_its_reader() -> None:
    url = data_url(encode(noise(), quality=50))
    page = f'<p>src="{url}"</p><img alt="{url}x" src=a.png><script>"<img src={url}>"</script>'
    assert replace_images(page, lambda _: "assets/x.jpg") == page


@pytest.mark.parametrize(
    "markup",
    ['<img src="{}">', "<img src={}>", "<video\n poster='{}'>", '<p style="background:url({})">'],
)
def test_every_place_of_an_address_is_found(markup: str) -> None:
    url = data_url(b"anything")
    page = "é\r\n\u2028<b>" + markup + "</b>"
    assert replace_images(page.format(url), lambda _: "assets/x.jpg") == page.format("assets/x.jpg")


@given(
    st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["L", "RGB", "P"]),
    st.integers(1, 95),
)
def test_nothing_ever_gets_larger(
    tmp_path_factory: pytest.TempPathFactory, kind: str, width: int, height: int, mode: str, quality: int
) -> None:
    image = noise(width, height).convert("RGB" if kind == "JPEG" and mode == "P" else mode)
    original = encode(image, kind, **({"quality": quality} if kind in ("JPEG", "WEBP") else {}))
    folder = site(tmp_path_factory.mktemp("site"), data_url(original, kind.lower()), page="a/b/index.html")
    before = size_of(folder)
    optimize(folder)
    assert size_of(folder) <= before
    for file in folder.glob("assets/*"):
        assert file.stat().st_size <= len(original)
