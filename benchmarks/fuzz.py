"""Damage files at random: reading them must end in an error that names the file, or in the same values.

    python benchmarks/fuzz.py [images] [archives] [runs] [commands] [--count 10000] [--seed 0]

A traceback is any exception but `BadImage` of an image, `ValueError` and `OSError` of a data set, and
`RunError` of a run; of a command it is a traceback on standard error. A silent reading is one that gives
other values although the format carries a checksum of what was changed.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from latentmix.data import from_path, load
from latentmix.data.decoding.images import BadImage, open_image

CHECKED_IMAGES = ("PNG",)
CHECKED_FILES = ("stored.npz", "packed.npz", "images.zip", "packed.zip", "images.tar.gz", "idx")
SLOW = 10.0  # seconds


def damaged(content: bytes, random: np.random.RandomState) -> bytes:
    """A file in which bits flip, bytes change, or pieces are cut out, doubled, moved, blanked or added."""
    raw = bytearray(content)
    for _ in range(1 + random.randint(3) * (random.rand() < 0.3)):
        if not raw:
            break
        place = int(random.randint(len(raw)))
        length = int(min(len(raw) - place, 1 + random.geometric(0.02)))
        kind = random.randint(8)
        if kind <= 1:
            raw[place] ^= 1 << random.randint(8)
        elif kind == 2:
            raw[place] = random.choice([0, 1, 127, 128, 255])
        elif kind == 3:
            del raw[place:]
        elif kind == 4:
            del raw[place : place + length]
        elif kind == 5:
            raw[place:place] = raw[place : place + length]
        elif kind == 6:
            raw[place : place + length] = bytes(length)
        else:
            raw[place : place + length] = random.bytes(length)
    return bytes(raw)


def images() -> dict[str, bytes]:
    """Images of every common format and mode, with metadata where there can be some."""
    random = np.random.RandomState(0)
    colour = Image.fromarray(random.randint(0, 256, (24, 20, 3)).astype(np.uint8))
    modes = {
        "RGB": colour,
        "L": colour.convert("L"),
        "P": colour.quantize(16),
        "1": colour.convert("1"),
        "LA": colour.convert("LA"),
        "RGBA": colour.convert("RGBA"),
        "CMYK": colour.convert("CMYK"),
        "I;16": Image.fromarray(random.randint(0, 65536, (24, 20)).astype(np.uint16)),
        "F": Image.fromarray(random.rand(24, 20).astype(np.float32)),
    }
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A], exif[0x0128] = 6, "camera", 72.0, 2
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    files: dict[str, bytes] = {}
    with contextlib.suppress(BadImage):
        open_image(b" ")  # makes the readers of all formats known
    for kind in (
        "PNG",
        "JPEG",
        "TIFF",
        "WEBP",
        "GIF",
        "BMP",
        "PPM",
        "AVIF",
        "JPEG2000",
        "TGA",
        "ICO",
        "PCX",
        "HEIF",
    ):
        for mode, image in modes.items():
            for options in ({}, {"exif": exif}):
                content = io.BytesIO()
                try:
                    image.save(content, kind, **options)
                except (OSError, ValueError, KeyError):
                    continue
                files[f"{kind} {mode}{' with Exif' if options else ''}"] = content.getvalue()
    return files


def archives(folder: Path) -> Iterator[Path]:
    """Data sets in every kind of file, each of them in a folder of its own."""
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (24, 8, 8)).astype(np.uint8)
    labels = np.arange(24) % 3
    pngs = {}
    for i, image in enumerate(pixels):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        pngs[f"class {labels[i]}/{i:02}.png"] = content.getvalue()

    def made(name: str) -> Path:
        (folder / name.partition(".")[0]).mkdir(exist_ok=True)
        return folder / name.partition(".")[0] / name

    np.savez(file := made("stored.npz"), images=pixels, labels=labels)
    yield file
    np.savez_compressed(
        file := made("packed.npz"),
        x_train=pixels,
        y_train=labels[:, None],
        x_test=pixels[:6],
        y_test=labels[:6],
    )
    yield file
    np.save(file := made("alone.npy"), pixels)
    yield file
    for name, method in (("images.zip", zipfile.ZIP_STORED), ("packed.zip", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(file := made(name), "w", method) as archive:
            for member, raw in pngs.items():
                archive.writestr(member, raw)
        yield file
    for name, mode in (("plain.tar", "w"), ("images.tar.gz", "w:gz")):
        with tarfile.open(file := made(name), mode) as tar:
            for i, (member, raw) in enumerate(pngs.items()):
                parts = (
                    {f"{i:02}.png": raw, f"{i:02}.cls": str(i % 3).encode()} if mode == "w" else {member: raw}
                )
                for inner, content in parts.items():
                    info = tarfile.TarInfo(inner)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        yield file
    file = made("idx.x").with_name("train-images-idx3-ubyte.gz")
    file.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, *pixels.shape) + pixels.tobytes()))
    yield file
    folder_of_list = made("list.x").parent
    for member, raw in pngs.items():
        (folder_of_list / member.replace("/", " ")).write_bytes(raw)
    (file := folder_of_list / "labels.csv").write_text(
        "file,label\n" + "".join(f"{member.replace('/', ' ')},{member[6]}\n" for member in pngs)
    )
    yield file
    folder_of_texts = made("texts.x").parent
    for member, raw in pngs.items():
        (folder_of_texts / member.replace("/", " ")).write_bytes(raw)
    names = [member.replace("/", " ") for member in pngs]
    (folder_of_texts / "test.txt").write_text("\n".join(names[18:]))
    (file := folder_of_texts / "train.txt").write_text("\n".join(names[:18]))
    yield file
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return
    table = pa.table({"image": [{"bytes": raw, "path": None} for raw in pngs.values()], "label": labels})
    pq.write_table(table, file := made("table.parquet"))
    yield file


def fuzz_images(count: int, seed: int, report: Counter[str]) -> None:
    """Damage images; every outcome is counted in `report`."""
    random, good = np.random.RandomState(seed), {}
    for name, content in images().items():
        with contextlib.suppress(BadImage):  # 16 bits in an icon
            good[name] = np.asarray(open_image(content))
    files = [(name, content) for name, content in images().items() if name in good]
    for i in range(count):
        name, content = files[i % len(files)]
        raw = damaged(content, random)
        outcome = _outcome(
            lambda raw=raw: np.asarray(open_image(raw)), (BadImage,), f"image {i}, {name}", report
        )
        if outcome is None:
            continue
        same = outcome.shape == good[name].shape and bool((outcome == good[name]).all())
        if not same and name.split()[0] in CHECKED_IMAGES:
            report["silent"] += 1
            print(f"image {i}, {name}: read as other pixels")
        report["read as before" if same else "read as other pixels, without a checksum"] += 1


def fuzz_archives(count: int, seed: int, report: Counter[str]) -> None:
    """Damage data sets; every outcome is counted in `report`."""
    random = np.random.RandomState(seed)
    with tempfile.TemporaryDirectory() as place:
        files = list(archives(Path(place)))
        whole = {file: file.read_bytes() for file in files}
        named = {file: file.parent if file.name[:5] in ("train", "label") else file for file in files}
        good = {file: load(from_path(named[file]), image_size=8).fingerprint for file in files}
        for i in range(count):
            file = files[i % len(files)]
            file.write_bytes(damaged(whole[file], random))
            what = f"archive {i}, {file.name}"
            data = _outcome(
                lambda f=file: load(from_path(named[f]), image_size=8), (ValueError, OSError), what, report
            )
            file.write_bytes(whole[file])
            if data is None:
                continue
            same = data.fingerprint == good[file]
            checked = any(file.name.endswith(name) or file.parent.name == name for name in CHECKED_FILES)
            if not same and checked:
                report["silent"] += 1
                print(f"{what}: read as other data: {data.found}")
            report["read as before" if same else "read as other data, without a checksum"] += 1


def _outcome(work: Callable, allowed: tuple[type[Exception], ...], what: str, report: Counter[str]):
    start = time.perf_counter()
    try:
        return work()
    except allowed as error:
        report["refused"] += 1
        if "\n" in str(error).strip() or len(str(error)) > 2000:
            report["long messages"] += 1
            print(f"{what}: {error}")
    except Exception:
        report["tracebacks"] += 1
        print(what)
        traceback.print_exc(limit=-3, file=sys.stdout)
    finally:
        if time.perf_counter() - start > SLOW:
            report["slow"] += 1
            print(f"{what}: {time.perf_counter() - start:.0f} s")
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", default=["images", "archives"])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from fuzz_commands import fuzz_commands
    from fuzz_runs import fuzz_runs

    kinds = {
        "images": fuzz_images,
        "archives": fuzz_archives,
        "runs": fuzz_runs,
        "commands": fuzz_commands,
    }
    failed = 0
    for kind in given.kinds:
        report: Counter[str] = Counter()
        start = time.perf_counter()
        kinds[kind](given.count, given.seed, report)
        what = "random commands" if kind == "commands" else f"damaged {kind}"
        print(f"{given.count:,} {what}, {time.perf_counter() - start:.0f} s: {dict(report)}")
        failed += report["tracebacks"] + report["silent"] + report["slow"]
        failed += report["long messages"]
    return int(failed > 0)


if __name__ == "__main__":
    import os

    with tempfile.TemporaryDirectory() as cache:
        os.environ["LATENTMIX_CACHE"] = cache
        code = main()
    sys.exit(code)
