"""The report: one file, nothing from outside, everything escaped, whatever is missing."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from latentmix import runs
from latentmix.pictures import figures
from latentmix.pictures.tiles import Tile, sheet
from latentmix.reports import page as report
from latentmix.runs import checkpoints

CONFIG = {
    "method": {"name": "amr", "mixer": {"name": "mixup", "k": 3, "alpha": 1.0}, "lamb": 10.0},
    "data": {"name": "digits"},
    "image_size": 16,
    "train_size": 1000,
    "epochs": 2,
    "batch_size": 64,
    "lr": 0.001,
    "seed": 4,
    "precision": "fp32",
    "device": "cpu",
    "out": "runs/mine",
}
LOG = [
    {"kind": "train", "epoch": 0, "step": 15, "images": 960, "seconds": 5.0, "values": {"critic": 1.9}},
    {
        "kind": "valid",
        "epoch": 0,
        "step": 15,
        "images": 960,
        "seconds": 6.0,
        "values": {"reconstruction": 0.2, "probe_accuracy": 0.5},
    },
    {"kind": "train", "epoch": 1, "step": 30, "images": 1920, "seconds": 11.0, "values": {"critic": 1.8}},
    {
        "kind": "valid",
        "epoch": 1,
        "step": 30,
        "images": 1920,
        "seconds": 12.4,
        "values": {"reconstruction": 0.0123, "probe_accuracy": 0.8},
    },
]
PROBE = {
    "values": {"offline_accuracy": 0.9, "offline_valid_accuracy": 0.95, "offline_error": 0.00012345},
    "protocol": {"n_test": 400, "n_valid": 100, "C": 0.1, "grid": [0.1, 1.0]},
    "seconds": 1.0,
}


def make_run(folder: Path, config: dict = CONFIG, log: list = LOG, scores: dict | None = None) -> Path:
    (folder / "figures").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "environment.json").write_text(json.dumps({"torch": "2.13.0", "device": "cpu (x86_64)"}))
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    for metric, score in ({"probe": PROBE} if scores is None else scores).items():
        runs.add_score(folder, metric, score)
    return folder


def draw(folder: Path, *stems: str) -> None:
    for n, stem in enumerate(stems):
        picture = sheet([Tile(0, 0, torch.full((1, 8, 8), n / 10))])
        picture.save(folder / "figures" / f"{stem}.png")


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_run(tmp_path / "mine")


class Page(HTMLParser):
    """What a browser would find: tags in balance, references, images, visible text."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.open, self.images, self.texts = [], [], [], []
        self.style = ""
        self.feed(self.source)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split()).replace("\xa0", " ")

    def pictures(self) -> list[bytes]:
        return [
            base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in self.images
        ]


def test_the_page_needs_nothing_from_outside_and_runs_nothing(folder):
    draw(folder, *report.FIGURES, "more")
    page = Page(report.write(folder))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "video")
        for name, value in attributes.items():
            assert name not in ("href", "srcset", "style", "action", "background", "poster")
            assert not name.startswith("on")
            assert name != "src" or value.startswith("data:image/png;base64,")
    assert not re.search(r"url\(|@import|expression", page.style)
    assert "://" not in page.source
    assert "prefers-color-scheme: dark" in page.style
    meta = {a.get("name") or a.get("http-equiv"): a.get("content") for t, a in page.tags if t == "meta"}
    assert "width=device-width" in meta["viewport"]
    assert "default-src 'none'" in meta["Content-Security-Policy"]


def test_every_figure_is_inside_byte_for_byte_known_ones_first_each_with_a_caption(folder):
    order = [*report.FIGURES, "abc"]
    draw(folder, *reversed(order))
    page = Page(report.write(folder))
    assert page.pictures() == [(folder / "figures" / f"{stem}.png").read_bytes() for stem in order]
    for picture, attributes in zip(page.pictures(), page.images):
        width, height = Image.open(io.BytesIO(picture)).size
        assert int(attributes["width"]) / int(attributes["height"]) == pytest.approx(width / height, rel=0.02)
        assert attributes["alt"]
    for _, caption in report.FIGURES.values():
        assert caption in page.text


def test_learning_curves_are_drawn_from_the_log_where_no_file_has_them(folder):
    [picture] = Page(report.write(folder)).pictures()
    buffer = io.BytesIO()
    figures.learning_curves({"AMR": LOG}).save(buffer, "PNG")
    assert picture == buffer.getvalue()


def test_the_first_sentence_says_what_was_trained_on_what_with_which_budget(folder):
    expected = (
        "AMR (mixup of 3), trained on 1,000 images of digits at 16 × 16 pixels for 2 epochs: "
        "30 steps, 1,920 images, 12 s on cpu (x86_64)."
    )
    assert expected in Page(report.write(folder)).text


def test_an_unfinished_run_says_how_far_it_came(tmp_path):
    folder = make_run(tmp_path / "half", CONFIG | {"epochs": 40}, LOG[:3])
    assert "for 1 of 40 epochs so far: 30 steps" in Page(report.write(folder)).text


def test_scores_stand_with_their_meaning_error_and_protocol(folder):
    text = Page(report.write(folder)).text
    assert "offline accuracy 90.0 % ± 1.5" in text  # sqrt(0.9 * 0.1 / 400)
    assert "offline valid accuracy 95.0 % ± 2.2" in text  # sqrt(0.95 * 0.05 / 100)
    assert "offline error 0.0001234" in text
    assert "Accuracy on test images of a linear classifier trained on the frozen codes" in text
    assert "grid 0.1, 1" in text
    assert "Compared" not in text


def test_scores_of_earlier_weights_are_left_out_and_named(folder):
    best = folder / "checkpoints" / "best"
    best.mkdir(parents=True)
    (best / checkpoints.WEIGHTS).write_bytes(b"new")
    new = hashlib.sha256(b"new").hexdigest()
    runs.add_score(folder, "knn", PROBE | {"values": {"knn_accuracy": 0.25}, "weights_sha256": "old"})
    runs.add_score(folder, "clusters", PROBE | {"values": {"nmi": 0.75}, "weights_sha256": new})
    text = Page(report.write(folder)).text
    assert "0.75" in text
    assert "25.0 %" not in text
    assert re.search(
        r"Of earlier weights and left out: knn. To compute again: latentmix evaluate \S+ knn", text
    )
    assert "offline accuracy" in text  # of unknown weights, as the online probe of training


def test_numbers_of_unlike_protocols_do_not_stand_side_by_side(tmp_path):
    def scored(name, knn, options, mark="a"):
        scores = {
            "knn": {"values": {"knn_accuracy": knn}, "protocol": {"n_test": 400}, "options": options},
            "frechet": {"values": {"frechet": knn}, "protocol": {"fingerprint": mark}, "options": {}},
            "honesty": {
                "values": {"ghosting": knn},
                "protocol": {"fingerprint": mark, "t": 0.25},
                "options": {},
            },
        }
        return make_run(tmp_path / name, CONFIG, LOG, scores)

    mine = scored("mine", 0.5, {"k": 20})
    others = [scored("like", 0.25, {"k": 20}), scored("unlike", 0.125, {"k": 200}, "b")]
    text = Page(report.write(mine, others=others)).text
    table = text.split("Compared")[1]
    assert re.search(r"AMR \(like\) 0\.0123 12 s 25\.0 % ± 2\.2 0\.25", table)
    assert re.search(r"AMR \(unlike\) 0\.0123 12 s other protocol other protocol AMR", table)
    honesty = text.split("honest?")[1].split("Make it again")[0]
    assert "Mixes at 0.25 of the way between" in honesty
    assert "unlike" not in honesty


@pytest.mark.parametrize("value", [-1.0, 1.5, None])
def test_an_accuracy_that_is_none_breaks_no_page(folder, value):
    runs.add_score(folder, "knn", PROBE | {"values": {"knn_accuracy": value}})
    assert (
        "knn accuracy " + ("undefined" if value is None else f"{value:g}") in Page(report.write(folder)).text
    )


def test_accuracies_of_votes_have_no_error_of_images(folder):
    score = {"values": {"factor_vae_eval_accuracy": 0.5}, "protocol": {"n_test": 400, "votes": 10}}
    runs.add_score(folder, "factors", score)
    assert "factor vae eval accuracy 50.0 %" in Page(report.write(folder)).text


def test_a_run_without_scores_figures_log_or_environment_says_what_makes_them(tmp_path):
    folder = make_run(tmp_path / "new", log=[], scores={})
    (folder / "environment.json").unlink()
    (folder / "log.jsonl").unlink()
    (folder / "figures").rmdir()
    page = Page(report.write(folder))
    assert f"latentmix evaluate {folder} probe" in page.text
    assert f"latentmix train {folder / 'config.yaml'}" in page.text
    assert "nothing has been logged yet" in page.text
    assert "Not recorded" in page.text
    assert page.images == []


def test_a_damaged_figure_is_named_and_the_others_are_shown(folder):
    draw(folder, "interpolations", "triangle", "learning_curves")
    damaged = folder / "figures" / "triangle.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    page = Page(report.write(folder))
    assert "figures/triangle.png is damaged" in page.text
    assert len(page.images) == 2


def test_everything_is_escaped(tmp_path):
    evil = "<script>alert('&\"')</script>{0}"
    config = CONFIG | {"data": {"name": evil}, "method": {"name": evil, "mixer": {"name": evil, "k": 2}}}
    score = {"values": {evil: 1.0, "word": evil}, "protocol": {evil: evil, "n_test": 3}}
    folder = make_run(tmp_path / "a b'<i>&", config, scores={evil: score})
    (folder / "environment.json").write_text(json.dumps({evil: evil, "device": evil}))
    other = make_run(tmp_path / "<b>other", config, scores={evil: score})
    draw(folder, "<u>figure'&", "learning_curves")
    page = Page(report.write(folder, others=[other]))
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "h1",
        "h2",
        "h3",
        "p",
        "section",
    }
    allowed |= {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "div",
        "small",
        "details",
        "summary",
        "dl",
        "dt",
        "dd",
    }
    allowed |= {"pre", "code", "figure", "figcaption", "img", "br", "footer"}
    assert {tag for tag, _ in page.tags} <= allowed
    assert page.text.count("alert(") > 8
    assert "'\"'\"'<i>&'" in page.text  # commands can be pasted into a shell


def test_baselines_stand_above_the_run_and_are_remembered(tmp_path, folder):
    ae = make_run(tmp_path / "ae", CONFIG | {"method": {"name": "autoencoder"}}, LOG[:2])
    bare = make_run(tmp_path / "bare", CONFIG | {"method": {"name": "ae_gan"}}, [], {})
    page = Page(report.write(folder, others=[ae, bare]))
    table = page.text.split("Compared")[1]
    assert re.search(
        r"AE 0\.2000 6 s 90\.0 % ± 1\.5 0\.0001234 AE\+GAN – – – – AMR 0\.0123 12 s 90\.0 % ± 1\.5", table
    )
    assert "valid accuracy" not in table.split("What it makes")[0]

    first = (folder / "report.html").read_bytes()
    assert report.write(folder).read_bytes() == first  # as `latentmix evaluate` does
    (bare / "config.yaml").unlink()
    assert "AE+GAN" not in Page(report.write(folder)).text
    assert "Compared" not in Page(report.write(folder, others=[])).text
    assert "Compared" not in Page(report.write(folder)).text


def test_mixes_of_runs_and_of_pixels_stand_in_one_table(tmp_path, folder):
    def judged(ghosting):
        values = {"density": 0.8, "ghosting": ghosting, "density_pixels": 0.25, "ghosting_pixels": 1.0}
        return {"honesty": {"values": values, "protocol": {}, "seconds": 1.0}}

    ae = make_run(tmp_path / "ae", CONFIG | {"method": {"name": "autoencoder"}}, LOG, judged(0.75))
    amr = make_run(tmp_path / "amr", CONFIG, LOG, judged(0.5))
    text = Page(report.write(amr, others=[ae])).text
    table = text.split("Are its mixes honest?")[1].split("What it makes")[0]
    assert re.search(r"of pixels 0\.25 – 100\.0 % – .*AE 0\.8 – 75\.0 % – .*AMR 0\.8 – 50\.0 % –", table)
    assert "ghosting pixels" not in text.split("Compared")[1]
    assert "honest?" not in Page(report.write(folder, others=[])).text


def test_reconstruction_errors_say_of_which_kind_and_weights_they_are(tmp_path, folder):
    bce = CONFIG | {"method": {"name": "vae", "reconstruction": "bce"}}
    chosen = {"training": {"values": {"valid_reconstruction": 0.3125}, "protocol": {"epoch": 1}}}
    other = make_run(tmp_path / "other", bce, scores=chosen)
    text = Page(report.write(folder, others=[other])).text
    assert "VAE 0.3125 bce 12 s" in text  # of the weights that are scored
    assert "AMR 0.0123 12 s" in text
    assert "the metric reconstruction has common units" in text


def test_runs_of_one_method_are_told_apart_by_their_folders(tmp_path, folder):
    text = Page(report.write(folder, others=[make_run(tmp_path / "other")])).text
    assert "AMR (other)" in text
    assert "AMR (mine)" in text


def test_the_same_folder_gives_the_same_bytes_and_leaves_nothing_else(folder):
    draw(folder, "triangle")
    first = report.write(folder).read_bytes()
    before = sorted(p.name for p in folder.rglob("*"))
    assert report.write(folder).read_bytes() == first
    assert sorted(p.name for p in folder.rglob("*")) == before


def test_the_old_page_survives_when_the_new_one_cannot_be_made(folder, monkeypatch):
    old = report.write(folder).read_bytes()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk is full")))
    (folder / "scores.json").unlink()
    with pytest.raises(OSError, match="disk is full"):
        report.write(folder)
    assert (folder / "report.html").read_bytes() == old


def test_a_folder_that_is_no_run_is_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="does not exist"):
        report.write(tmp_path / "absent")
    with pytest.raises(ValueError, match="is not a run"):
        report.write(folder, others=[tmp_path])


def test_a_collapsed_model_is_called_so_and_shows_no_number(folder, tmp_path):
    why = "decoded images are nearly all the same: their variety is 0.01"
    honest = {"values": {"ghosting": 0.25, "ghosting_pixels": 1.0}, "protocol": {"collapsed": False}}
    fallen = {
        "values": {"ghosting": None, "ghosting_pixels": 1.0},
        "protocol": {"collapsed": True, "collapsed_because": why},
    }
    far = {"values": {"frechet": None}, "protocol": {"collapsed": True, "collapsed_because": why}}
    near = {"values": {"frechet": 3.25}, "protocol": {"collapsed": False}}
    vq_vae = CONFIG | {"method": {"name": "vq_vae"}}
    other = make_run(tmp_path / "other", vq_vae, scores={"honesty": fallen, "frechet": far})
    for metric, score in (("honesty", honest), ("frechet", near)):
        runs.add_score(folder, metric, score)
    report.write(folder, others=[other])
    text = Page(folder / "report.html").text
    assert f"VQ-VAE collapsed: {why}" in text  # beside AMR's honest row
    assert "frechet frechet" in text
    assert re.search(r"VQ-VAE .* collapsed", text)
    assert "undefined" not in text
    report.write(other)
    assert f"The model is collapsed: {why}." in Page(other / "report.html").text


def test_the_report_of_a_gan_names_its_options_and_offers_nothing_that_it_cannot(tmp_path: Path) -> None:
    """No mixes of people's images, the meaning of a metric with options, and scores of replaced weights."""
    torch.manual_seed(0)
    config = {**CONFIG, "method": {"name": "gan", "mixing": "fr"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, LOG)) + "\n")
    about = {"method": config["method"], "shape": [1, 16, 16], "label": "SN-GAN, mixes FR", "best": ""}
    checkpoints.save(tmp_path, "last", {"x": torch.zeros(2)}, {**about, "epoch": 2})
    sha = checkpoints.weights_sha256(tmp_path, "last")
    score = {"values": {"frechet_test": 1.5}, "protocol": {}, "seconds": 1.0, "weights_sha256": sha}
    (tmp_path / "scores.json").write_text(json.dumps({"samples.n=500": score}))
    text = report.write(tmp_path).read_text()
    assert "<h1>SN-GAN, mixes FR on digits</h1>" in text
    assert "How close generated images, as a set, are to real ones" in text
    assert "latentmix mix" not in text
    assert "of the last weights, epoch 2" in text
    checkpoints.save(tmp_path, "last", {"x": torch.ones(2)}, {**about, "epoch": 3})
    assert "Of earlier weights and left out: samples.n=500" in report.write(tmp_path).read_text()
