"""The real download path, against a small hub on loopback; and what happens without one."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_hub import serve
from PIL import Image

from latentmix.data.sources import hub

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("datasets")

SCRIPT = """
import json, sys, time
from latentmix.data import load
from latentmix.data.sources import hub
for name in sys.argv[1:]:
    start = time.perf_counter()
    try:
        data = load(getattr(hub, name)(), image_size=8)
    except (ValueError, FileNotFoundError) as error:
        seconds = time.perf_counter() - start
        print(json.dumps({"error": f"{type(error).__name__}: {error}", "seconds": seconds}))
        continue
    test = data.test
    print(json.dumps({
        "name": data.name,
        "shape": data.shape,
        "sizes": [len(data.train), len(data.valid), len(data.test)],
        "classes": data.class_names,
        "attributes": data.attribute_names,
        "fingerprint": data.fingerprint,
        "first pixels": test.images[:, 0, 0, 0].tolist(),
        "labels": test.labels.tolist(),
        "faces": None if test.attributes is None else test.attributes.tolist(),
    }))
"""


def png(value: int, mode: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8) if mode == "L" else (8, 8, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def table(
    count: int, columns: dict[str, object], features: dict[str, object], *, image: str, mode: str
) -> bytes:
    """A parquet file of `count` one-coloured images, image i of colour i."""
    images = pa.array(
        [{"bytes": png(i, mode), "path": f"{i}.png"} for i in range(count)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    info = {"info": {"features": {image: {"_type": "Image"}, **features}}}
    made = pa.table({image: images, **columns}).replace_schema_metadata({"huggingface": json.dumps(info)})
    file = pa.BufferOutputStream()
    pq.write_table(made, file)
    return file.getvalue().to_pybytes()


def card(config: str, splits: tuple[str, ...]) -> bytes:
    files = "".join(f"  - split: {s}\n    path: {config}/{s}-*\n" for s in splits)
    return f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n".encode()


def repository(config: str, splits: dict[str, bytes]) -> dict[str, bytes]:
    files = {f"{config}/{split}-00000-of-00001.parquet": content for split, content in splits.items()}
    return {"README.md": card(config, tuple(splits)), **files}


def class_names(count: int) -> dict[str, object]:
    return {"names": [f"class {i}" for i in range(count)], "_type": "ClassLabel"}


def run(names: list[str], home: Path, endpoint: str, **more: str) -> list[dict[str, Any]]:
    """Load sets in a process of its own, as the hub's client reads the environment on import."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    env |= {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {
        "HF_HOME": str(home / "hf"),
        "LATENTMIX_CACHE": str(home / "decoded"),
        "OMP_NUM_THREADS": "1",
    } | more
    command = [sys.executable, "-c", SCRIPT, *names]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_download_path_and_both_caches(tmp_path: Path) -> None:
    digits = {
        s: table(n, {"label": [i % 3 for i in range(n)]}, {"label": class_names(3)}, image="image", mode="L")
        for s, n in (("train", 10), ("test", 4))
    }
    things = {
        s: table(n, {"label": [i % 2 for i in range(n)]}, {"label": class_names(2)}, image="img", mode="RGB")
        for s, n in (("test", 5), ("train", 15))
    }
    hundred = {
        s: table(
            n,
            {"fine_label": [i % 4 for i in range(n)], "coarse_label": [i % 3 for i in range(n)]},
            {"fine_label": class_names(4), "coarse_label": class_names(3)},
            image="img",
            mode="RGB",
        )
        for s, n in (("train", 10), ("test", 6))
    }
    faces = {
        s: table(
            n,
            {
                "celeb_id": [100 + i for i in range(n)],
                "5_o_Clock_Shadow": [i % 2 == 0 for i in range(n)],
                "Male": [i % 3 == 0 for i in range(n)],
                "Young": [True] * n,
            },
            {},
            image="image",
            mode="RGB",
        )
        for s, n in (("train", 7), ("valid", 3), ("test", 4))
    }
    repos = {
        "ylecun/mnist": repository("mnist", digits),
        "uoft-cs/cifar10": repository("plain_text", things),
        "uoft-cs/cifar100": repository("cifar100", hundred),
        "flwrlabs/celeba": repository("img_align+identity+attr", faces),
    }
    wanted = ["MNIST", "CIFAR10", "CIFAR100", "CelebA"]
    with serve(repos) as (endpoint, asked):
        *found, gone = run([*wanted, "FashionMNIST"], tmp_path, endpoint)
        assert "zalando-datasets/fashion_mnist cannot be downloaded" in gone["error"]
        count = len(asked)
        assert run(wanted, tmp_path, endpoint) == found
        assert len(asked) == count  # decoded images are cached: the hub is not even asked
        shutil.rmtree(tmp_path / "decoded")
    assert run(wanted, tmp_path, endpoint) == found  # the hub is gone; its client's own cache serves

    mnist, cifar10, cifar100, celeba = found
    assert [f["name"] for f in found] == ["mnist", "cifar10", "cifar100", "celeba"]
    assert mnist["shape"] == [1, 8, 8]
    assert cifar10["shape"] == cifar100["shape"] == celeba["shape"] == [3, 8, 8]
    assert mnist["sizes"] == [8, 2, 4]
    assert cifar10["sizes"] == [12, 3, 5]
    assert cifar100["sizes"] == [8, 2, 6]
    assert celeba["sizes"] == [7, 3, 4]
    for data in found:
        assert data["first pixels"] == list(range(data["sizes"][2]))
    assert mnist["classes"] == ["class 0", "class 1", "class 2"]
    assert mnist["labels"] == [0, 1, 2, 0]
    assert cifar100["labels"] == [0, 1, 2, 3, 0, 1]  # fine, not coarse
    assert celeba["classes"] == ["not Male", "Male"]
    assert celeba["labels"] == [1, 0, 0, 1]
    assert celeba["attributes"] == ["5_o_Clock_Shadow", "Male", "Young"]
    assert celeba["faces"] == [[1, 1, 1], [0, 0, 1], [1, 0, 1], [0, 1, 1]]


def test_without_a_network_the_answer_is_immediate(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        [refused] = run(["SVHN"], tmp_path, endpoint)
        [offline] = run(["KMNIST"], tmp_path, endpoint, HF_HUB_OFFLINE="1")
    assert "ufldl-stanford/svhn is not on this machine yet" in refused["error"]
    assert f"{endpoint} does not answer" in refused["error"]
    assert "offline mode is set" in offline["error"]
    for answer in (refused, offline):
        assert answer["error"].startswith("FileNotFoundError")
        assert "a folder with *.parquet files in the hub's layout, a folder of images" in answer["error"]
        assert answer["seconds"] < 15  # imports on a busy machine; the client's own retries alone take 23


def test_a_hub_that_accepts_but_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.perf_counter()
        assert not hub._answers(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.perf_counter() - start < 3
    with serve({}) as (endpoint, _):
        assert hub._answers(f"{endpoint}/no/such/page")  # 404 is an answer
    assert not hub._answers("no endpoint")


def test_certificates_are_left_to_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(reason: Exception) -> None:
        def urlopen(*_: object, **__: object) -> None:
            raise urllib.error.URLError(reason)

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)

    fail(ssl.SSLCertVerificationError("unable to get local issuer certificate"))
    assert hub._answers("https://localhost")
    fail(socket.gaierror("no such host"))
    assert not hub._answers("https://localhost")


def test_facts_of_the_named_sets() -> None:
    assert hub.SVHN.valid_size == 7_326
    assert hub.CelebA.splits == ("train", "valid", "test")
    keys = [s().key() for s in (hub.MNIST, hub.KMNIST, hub.FashionMNIST, hub.SVHN, hub.CIFAR10, hub.CIFAR100)]
    assert len(set(keys)) == 6
    assert hub.MNIST(revision="abc").key() != hub.MNIST().key()
