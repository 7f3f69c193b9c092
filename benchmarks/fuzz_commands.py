"""Random command lines: each ends with a documented exit code, a screen of text at most, and no traceback."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fuzz import SLOW
from fuzz_runs import trained
from latentmix import cli, memory
from latentmix.config import catalogue
from latentmix.training import loop

# Lists of words are easier to read as text than one word a line.
NUMBERS = "0 1 -1 2.9 3 16 32 010 1:00 1_000 0x10 1000000 1e400 nan inf -inf 1e-320 99999999999999999999"
NAMES = "digits amr mixup conv auto cpu cuda:99 loop nowhere a:b ./x.py:Y null ~ true no 2020-13-01"
PLACES = "../.. / . /dev/null /dev/stdin /proc/self/mem ~nobody $HOME %s"
YAML = ("[1, 2]", "[", "{", "{}", "{a: 1}", "[" * 3000, "&a [*a]", "!!python/name:os.system", "&x {y: *x}")
TEXT = ("", " ", "'", '"', "\\", "a" * 5000, "9" * 400, "\u00e4", "\u202e", "\x1b[31m", "a\nb")
WORDS = (*NUMBERS.split(), *NAMES.split(), *PLACES.split(), *YAML, *TEXT)
TINY = "data=digits image_size=16 train_size=64 batch_size=32 steps=1 method.network.width=4"
KEYS = (
    "method data protocol image_size classes train_size labelled attributes hold_out epochs steps batch_size "
    "keep_last lr probe_lr schedule every crop flip validate_every start_from seed precision device out "
    "method.mixer method.mixer.k method.mixer.alpha method.lamb method.network method.network.width "
    "method.network.d_h data.path data.name every.critic hold_out.label epoch method. . a.b.c method.lamb.x"
)
METRICS = "probe knn knn.k knn.temperature disentanglement few_labels.counts probe.grid nothing"


def fuzz_commands(count: int, seed: int, report: Counter[str], run: Path | None = None) -> None:
    """Run random commands in this process, in a folder of their own; outcomes are counted in `report`.

    Trainings end before their first step; everything before it is done.

    Arguments:
        run: A trained run, which is copied; None to train one.
    """
    random = np.random.RandomState(seed)
    with tempfile.TemporaryDirectory() as place, _prepared(Path(place), run):
        for i in range(count):
            words = _command(random)
            report[_run(words, f"command {i}: latentmix {' '.join(words)!r:.300}", report)] += 1


@contextlib.contextmanager
def _prepared(place: Path, run: Path | None) -> Iterator[None]:
    """Make a folder with a run, images, a YAML file and a loop of links, and go there."""
    if run is None:
        trained(place / "run")
    else:
        shutil.copytree(run, place / "run")
    for name in ("a.png", "b.png"):
        Image.fromarray(np.eye(20, dtype=np.uint8) * 255).save(place / name)
    (place / "bad.png").write_bytes(b"\x89PNG\r\n")
    (place / "settings.yaml").write_text("epochs: 1\nmethod: {name: amr}\n")
    (place / "latin.yaml").write_bytes(b"method: caf\xe9\n")
    (place / "loop").symlink_to(place / "loop")

    def fit(self: loop.Trainer, *_: object) -> Path:
        raise SystemExit(0)

    before, fitted, limit = Path.cwd(), loop.Trainer.fit, memory.stay_below_what_is_free
    limit()
    loop.Trainer.fit, memory.stay_below_what_is_free = fit, lambda: None  # type: ignore[method-assign]
    try:
        os.chdir(place)
        yield
    finally:
        os.chdir(before)
        loop.Trainer.fit, memory.stay_below_what_is_free = fitted, limit  # type: ignore[method-assign]


def _command(random: np.random.RandomState) -> list[str]:
    def word() -> str:
        return str(WORDS[random.randint(len(WORDS))])

    def one_of(*choices: str) -> str:
        return word() if random.rand() < 0.2 else str(choices[random.randint(len(choices))])

    def setting() -> str:
        return (
            f"{one_of(*KEYS.split())}={word()}"
            if random.rand() < 0.8
            else one_of("settings.yaml", "latin.yaml", "run")
        )

    def options(*names: str) -> list[str]:
        return [each for name in names if random.rand() < 0.25 for each in (f"--{name}", word())]

    kind = str(random.choice(["train", "train", "train", "evaluate", "mix", "inspect", "other"]))
    if kind == "train":
        part = random.rand() < 0.3
        method = [f"method={random.choice(list(catalogue.find('method')))}"] if part else []
        return ["train", *TINY.split(), *method, *(setting() for _ in range(random.randint(1, 3)))]
    if kind == "evaluate":
        named = [
            one_of(*METRICS.split()) + (f"={word()}" if random.rand() < 0.7 else "")
            for _ in range(random.randint(3))
        ]
        return [
            "evaluate",
            one_of("run", "run", "nowhere", "loop"),
            *named,
            *options("seed", "checkpoint", "data"),
        ]
    if kind == "mix":
        images = [one_of("a.png", "b.png", "bad.png", "loop", ".") for _ in range(random.randint(4))]
        return [
            "mix",
            one_of("run", "nowhere"),
            *images,
            *options("steps", "out", "layout", "path", "refine"),
        ]
    if kind == "inspect":
        return [
            "inspect",
            one_of("digits", ".", "a.png", "run"),
            *(setting() for _ in range(random.randint(2))),
        ]
    return [
        [word(), word()],
        ["parts", word()],
        ["parts", one_of("mixer", "metric"), word()],
        [
            "reproduce",
            one_of("amr-table1", "manifold-table1"),
            "--plan",
            *options("scale", "seeds", "only", "jobs"),
        ],
        ["export", one_of("nowhere", "loop"), *options("to", "out")],
        ["explore", one_of("nowhere", "loop"), *options("port")],
        ["demo", "--seed", one_of("-1", "x")],
        ["--help"],
        [],
    ][random.randint(9)]


def _run(words: list[str], what: str, report: Counter[str]) -> str:
    out, err, streams = io.StringIO(), io.StringIO(), (sys.stdout, sys.stderr, sys.argv)
    start = time.process_time()
    sys.stdout, sys.stderr, sys.argv = out, err, ["latentmix", *words]
    code: object = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cli.main()
    except SystemExit as left:
        code = left.code or 0
    finally:
        sys.stdout, sys.stderr, sys.argv = streams
    said = err.getvalue()
    lines = sum(1 + len(line) // 80 for line in said.splitlines())
    if "Traceback" in said or code not in (0, 2):
        report["tracebacks"] += 1
        print(f"{what}\n  code {code}\n{said[-3000:]}")
    elif code == 2 and (lines >= 24 or not said.strip()):
        report["long messages"] += 1
        print(f"{what}\n  {lines} lines: {said[:1500]}")
    if time.process_time() - start > SLOW:
        report["slow"] += 1
        print(f"{what}: {time.process_time() - start:.0f} s")
    return "done" if code == 0 else "refused"
