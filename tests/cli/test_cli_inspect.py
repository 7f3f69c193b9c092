"""`latentmix inspect` says what a training would find, and trains nothing."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from terminal import refusal, typed


def test_a_folder_is_described(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (12 + i, 9), (i, 0, 0)).save(tmp_path / "pets" / name / f"{i}.png")
    (tmp_path / "pets" / "notes.txt").write_text("hello")
    (tmp_path / "pets" / "cats" / "bad.png").write_bytes(b"")
    assert "1 of 11 images cannot be used: cats/bad.png" in refusal(typed("inspect", "pets", cwd=tmp_path))
    done = typed("inspect", "pets", "data.skip_bad=true", "image_size=16", cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out.startswith("pets, read as folder: colour, decoded to 16x16 pixels\n  train ")
    for words in (
        "of 2 classes: cats (",
        "files PNG 10, 12x9 to 16x9 pixels",
        "left out: 1 images that cannot be decoded: cats/bad.png (empty file)",
        "left out: 1 files that are not images (.txt 1): notes.txt",
    ):
        assert words in done.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pets"]


def test_mistakes(tmp_path: Path) -> None:
    assert "data: ./nothing: no such file or folder" in refusal(typed("inspect", "./nothing", cwd=tmp_path))
    assert "data.skip: unknown option of digits" in refusal(
        typed("inspect", "digits", "data.skip=1", cwd=tmp_path)
    )
