"""CelebA and UT-Zappos50K in the layouts of their authors and of Kaggle, fabricated with a few images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentmix.data import from_path, load
from latentmix.data.sources.celeba_folder import CelebAFolder
from latentmix.data.sources.zappos import Zappos

# Image i has the brightness 20 i.
ATTRIBUTES = ("Bald", "Male", "Young")
VALUES = [(-1, 1, 1), (-1, -1, 1), (1, 1, -1), (-1, -1, -1), (-1, -1, 1), (-1, 1, 1), (1, 1, 1), (-1, -1, -1)]
PARTITION = [0, 0, 1, 0, 2, 0, 2, 1]
LAYOUTS = ("authors", "authors' folders", "beside the images", "kaggle")


def save(file: Path, value: int, size: tuple[int, int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, 255)).save(file, quality=95)


def faces(root: Path, layout: str = "authors") -> Path:
    """CelebA with eight faces; the rows of the two lists are in different orders."""
    anno, evaluation, images = {
        "authors": (root, root, root / "img_align_celeba"),
        "authors' folders": (root / "Anno", root / "Eval", root / "Img" / "img_align_celeba"),
        "beside the images": (root / "img_align_celeba", root, root / "img_align_celeba"),
        "kaggle": (root, root, root / "img_align_celeba" / "img_align_celeba"),
    }[layout]
    names = [f"{i + 1:06}.jpg" for i in range(len(VALUES))]
    for i, name in enumerate(names):
        save(images / name, 20 * i, (178, 218))
    for folder in (anno, evaluation):
        folder.mkdir(parents=True, exist_ok=True)
    attributes, partition = list(zip(names, VALUES)), list(zip(names, PARTITION))[::-1]
    if layout == "kaggle":
        rows = [f"image_id,{','.join(ATTRIBUTES)}", *(f"{n},{','.join(map(str, v))}" for n, v in attributes)]
        (anno / "list_attr_celeba.csv").write_text("\n".join(rows) + "\n")
        rows = ["image_id,partition", *(f"{n},{p}" for n, p in partition)]
        (evaluation / "list_eval_partition.csv").write_text("\n".join(rows) + "\n")
    else:  # the authors' lists align their columns, and end lines with a space or in Windows' way
        rows = [f"{len(names)}", " ".join(ATTRIBUTES) + " "]
        rows += [f"{n} {' '.join(f'{x:2}' for x in v)}" for n, v in attributes]
        (anno / "list_attr_celeba.txt").write_text("\r\n".join(rows) + "\r\n")
        (evaluation / "list_eval_partition.txt").write_text("\n".join(f"{n} {p}" for n, p in partition))
    return root


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


class TestCelebA:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_faces_attributes_and_labels_are_those_of_the_lists(self, tmp_path: Path, layout: str) -> None:
        root = faces(tmp_path / "celeba", layout)
        assert CelebAFolder.fits(root)
        assert from_path(root) == CelebAFolder(str(root))
        data = load(CelebAFolder(str(root)), image_size=16)
        assert (data.name, data.shape, data.attribute_names) == ("celeba", (3, 16, 16), ATTRIBUTES)
        assert data.class_names == ("not Male", "Male")
        for number, split in enumerate((data.train, data.valid, data.test)):
            listed = [i for i, p in enumerate(PARTITION) if p == number]
            assert split.labels is not None
            assert split.attributes is not None
            brightness = split.images[:, 0].float().mean((1, 2))
            torch.testing.assert_close(brightness, 20.0 * torch.tensor(listed), atol=3, rtol=0)
            expected = (torch.tensor(VALUES)[listed] == 1).to(torch.uint8)
            assert torch.equal(split.attributes, expected)
            assert torch.equal(split.labels, expected[:, 1].long())

    def test_the_central_square_is_kept(self, tmp_path: Path) -> None:
        root = faces(tmp_path)
        image = Image.new("RGB", (178, 218), "black")
        image.paste("white", (0, 20, 178, 198))
        image.save(root / "img_align_celeba" / "000001.jpg", quality=95)
        assert (
            CelebAFolder(str(root)).read(32).splits["train"].images[0].min() > 215
        )  # JPEG rings at the border

    def test_splits_that_the_list_lacks_are_held_out(self, tmp_path: Path) -> None:
        root = faces(tmp_path)
        partition = root / "list_eval_partition.txt"
        partition.write_text("\n".join(f"{i + 1:06}.jpg 0" for i in range(8)))
        data = load(CelebAFolder(str(root)), image_size=8)
        assert (len(data.train), len(data.valid), len(data.test)) == (6, 1, 1)

    def test_bad_images_are_named_and_skipped_only_when_asked_to(self, tmp_path: Path) -> None:
        root = faces(tmp_path)
        (root / "img_align_celeba" / "000001.jpg").write_bytes(b"")
        with pytest.raises(ValueError, match=r"000001\.jpg \(empty file\).*skip_bad=true"):
            CelebAFolder(str(root)).read(8)
        decoded = CelebAFolder(str(root), skip_bad=True).read(8)
        assert decoded.splits["train"].labels is not None
        assert decoded.splits["train"].labels.tolist() == [0, 0, 1]
        assert [round(int(v) / 20) for v in decoded.splits["train"].images[:, 0, 4, 4]] == [1, 3, 5]

    def test_the_cache_notices_a_change(self, tmp_path: Path) -> None:
        root = faces(tmp_path)
        source = CelebAFolder(str(root))
        before = source.key()
        assert source.key() == before
        edit(root / "list_attr_celeba.txt", "-1  1  1", "-1 -1 1")
        changed = source.key()
        save(root / "img_align_celeba" / "000002.jpg", 99, (100, 100))
        assert len({before, changed, source.key()}) == 3

    @pytest.mark.parametrize("gone", ["list_attr_celeba", "list_eval_partition"])
    def test_a_missing_list_is_named(self, tmp_path: Path, gone: str) -> None:
        root = faces(tmp_path)
        (root / f"{gone}.txt").unlink()
        with pytest.raises(FileNotFoundError, match=rf"has no {gone}\.txt or {gone}\.csv"):
            CelebAFolder(str(root)).read(8)

    def test_missing_images_are_counted(self, tmp_path: Path) -> None:
        root = faces(tmp_path)
        for name in ("000003.jpg", "000005.jpg"):
            (root / "img_align_celeba" / name).unlink()
        with pytest.raises(FileNotFoundError, match=r"lacks 2 of the 8 images .* first being 000003\.jpg"):
            CelebAFolder(str(root)).read(8)
        for file in (root / "img_align_celeba").iterdir():
            file.unlink()
        (root / "img_align_celeba").rmdir()
        with pytest.raises(FileNotFoundError, match="no folder img_align_celeba/"):
            CelebAFolder(str(root)).key()

    @pytest.mark.parametrize(
        ("layout", "file", "old", "new", "message"),
        [
            (
                "authors",
                "list_attr_celeba.txt",
                "-1 -1  1",
                "-1  1",
                r"txt, line 4: 000002.jpg needs 3 values .*it has 2: -1 1$",
            ),
            (
                "authors",
                "list_attr_celeba.txt",
                " 1  1 -1",
                " 1  0 -1",
                r"line 5: 000003.jpg needs 3 values out of -1, 1",
            ),
            (
                "kaggle",
                "list_attr_celeba.csv",
                "-1,-1,1",
                "-1,-1,1,1",
                r"csv, line 3: 000002.jpg needs 3 .* 4:",
            ),
            (
                "authors",
                "list_eval_partition.txt",
                "000003.jpg 1",
                "000003.jpg 3",
                r"line 6: 000003.jpg needs 1 .* 0, 1, 2",
            ),
            ("authors", "list_eval_partition.txt", "000003.jpg 1", "000003.jpg", r"it has 0: $"),
            ("authors", "list_attr_celeba.txt", "000004", "000003", r"line 6: 000003.jpg is listed twice"),
            ("authors", "list_attr_celeba.txt", "8", "9", r"lists 8 images, but promises 9"),
            (
                "authors",
                "list_attr_celeba.txt",
                "Male",
                "Man",
                r"no attribute Male; it has Bald, Man, Young",
            ),
            (
                "kaggle",
                "list_eval_partition.csv",
                "000003",
                "000033",
                r"2 are in one of them only, the first being 000003.jpg",
            ),
        ],
    )
    def test_bad_rows_are_named_by_their_line(
        self, tmp_path: Path, layout: str, file: str, old: str, new: str, message: str
    ) -> None:
        root = faces(tmp_path, layout)
        edit(root / file, old, new)
        with pytest.raises(ValueError, match=message):
            CelebAFolder(str(root)).read(8)

    @pytest.mark.parametrize("content", ["", "8\n", "8\nBald Male Young\n"])
    def test_empty_lists_are_refused(self, tmp_path: Path, content: str) -> None:
        root = faces(tmp_path)
        (root / "list_attr_celeba.txt").write_text(content)
        with pytest.raises(ValueError, match=r"list_attr_celeba\.txt"):
            CelebAFolder(str(root)).read(8)

    def test_a_partition_without_training_images_is_refused(self, tmp_path: Path) -> None:
        root = faces(tmp_path)
        partition = root / "list_eval_partition.txt"
        partition.write_text(partition.read_text().replace(" 0", " 2"))
        with pytest.raises(ValueError, match="no training image"):
            CelebAFolder(str(root)).read(8)

    def test_other_folders_do_not_fit(self, tmp_path: Path) -> None:
        save(tmp_path / "img_align_celeba" / "1.jpg", 0, (8, 8))
        assert not CelebAFolder.fits(tmp_path)
        assert not CelebAFolder.fits(tmp_path / "nothing")
        with pytest.raises(FileNotFoundError, match="no such folder"):
            CelebAFolder(str(tmp_path / "nothing")).read(8)


SHOES = (
    "Boots/Ankle/L.A.M.B./7965307.5291.jpg",
    "Boots/Mid-Calf/Primigi Kids/8022042.89.jpg",
    "Sandals/Heel/Annie/7350693.3.jpg",
    "Shoes/Sneakers and Athletic Shoes/Nike/1.1.jpg",
    "Shoes/Sneakers and Athletic Shoes/Vans/2.1.jpg",
    "Slippers/Boot/Acorn/3.1.jpg",
)


def shoes(root: Path, *, size: tuple[int, int] = (136, 136), start: int = 0) -> Path:
    for i, name in enumerate(SHOES):
        save(root / name, start + 20 * i, size)
    (root / "Boots" / "Ankle" / ".hidden.jpg").write_bytes(b"")
    return root


class TestZappos:
    SQUARE = "ut-zap50k-images-square"

    @pytest.mark.parametrize("inside", [True, False])
    def test_the_label_is_the_category(self, tmp_path: Path, inside: bool) -> None:
        root = shoes(tmp_path / self.SQUARE)
        path = root if inside else tmp_path
        assert Zappos.fits(path)
        assert from_path(path) == Zappos(str(path))
        decoded = Zappos(str(path)).read(128)
        assert decoded.splits["train"].images.shape == (6, 3, 128, 128)
        assert [round(int(v) / 20) for v in decoded.splits["train"].images[:, 0, 64, 64]] == list(range(6))
        assert decoded.class_names == ("Boots", "Sandals", "Shoes", "Slippers")
        assert decoded.splits["train"].labels is not None
        assert decoded.splits["train"].labels.tolist() == [0, 0, 1, 2, 2, 3]
        data = load(Zappos(str(path)), image_size=8)
        assert (len(data.train), len(data.valid), len(data.test)) == (4, 1, 1)

    def test_the_published_split_holds_out_the_last_of_a_fixed_permutation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = str(shoes(tmp_path / self.SQUARE))
        with pytest.raises(ValueError, match="published=true holds 2,000 images out, and there are 6"):
            Zappos(root, published=True).read(8)
        monkeypatch.setattr("latentmix.data.sources.zappos.HELD_OUT", 2)
        splits = Zappos(root, published=True).read(8).splits
        order = np.random.RandomState(0).permutation(6).tolist()
        shown = {name: [round(int(v) / 20) for v in s.images[:, 0, 4, 4]] for name, s in splits.items()}
        assert shown == {"train": order[:4], "valid": order[4:], "test": order[4:]}

    def test_or_the_subcategory_within_its_category(self, tmp_path: Path) -> None:
        decoded = Zappos(str(shoes(tmp_path)), label="subcategory").read(8)
        assert decoded.class_names == (
            "Boots-Ankle",
            "Boots-Mid-Calf",
            "Sandals-Heel",
            "Shoes-Sneakers and Athletic Shoes",
            "Slippers-Boot",
        )
        assert decoded.splits["train"].labels is not None
        assert decoded.splits["train"].labels.tolist() == [0, 1, 2, 3, 3, 4]

    def test_the_square_images_are_taken_where_both_are_there(self, tmp_path: Path) -> None:
        shoes(tmp_path / "ut-zap50k-images", size=(136, 102), start=100)
        assert Zappos(str(tmp_path)).read(8).splits["train"].images[0, 0, 4, 4] > 90
        shoes(tmp_path / self.SQUARE)
        assert Zappos(str(tmp_path)).read(8).splits["train"].images[0, 0, 4, 4] < 10

    def test_bad_images_are_named_and_skipped_only_when_asked_to(self, tmp_path: Path) -> None:
        (shoes(tmp_path) / SHOES[2]).write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"Sandals/Heel/Annie/7350693\.3\.jpg .*skip_bad=true"):
            Zappos(str(tmp_path)).read(8)
        decoded = Zappos(str(tmp_path), skip_bad=True).read(8)
        assert decoded.class_names == ("Boots", "Shoes", "Slippers")
        assert np.array_equal(decoded.splits["train"].labels, [0, 0, 1, 1, 2])

    def test_the_cache_notices_a_change(self, tmp_path: Path) -> None:
        source = Zappos(str(shoes(tmp_path)))
        before = source.key()
        assert source.key() == before
        save(tmp_path / "Boots" / "Ankle" / "Nike" / "4.jpg", 0, (9, 9))
        assert source.key() != before

    def test_other_folders_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no such folder"):
            Zappos(str(tmp_path / "nothing")).read(8)
        with pytest.raises(FileNotFoundError, match="holds none of Boots, Sandals"):
            Zappos(str(tmp_path)).read(8)
        (tmp_path / "Shoes").mkdir()
        with pytest.raises(ValueError, match="holds no images"):
            Zappos(str(tmp_path)).read(8)
        save(tmp_path / "Shoes" / "1.jpg", 0, (9, 9))
        with pytest.raises(ValueError, match=r"Shoes/1\.jpg is not in a folder Category/SubCategory/Brand/"):
            Zappos(str(tmp_path)).read(8)
        assert not Zappos.fits(tmp_path)  # anybody's folder of shoes
