"""The feature network: made once, found again on disk, the same for every number of threads and machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latentmix.atomic import NEW, replacing
from latentmix.data import Split, load
from latentmix.data.sources.digits import Digits
from latentmix.methods.autoencoder import Autoencoder
from latentmix.metrics import evaluating, frechet
from latentmix.metrics.features import classifier as features
from latentmix.metrics.features import kept
from latentmix.networks.conv import Conv


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(features, "STEPS", 20)
    monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def untrainable(monkeypatch):
    """From here on, training a feature network is an error."""

    def forbid() -> None:
        def refuse(*_, **__):
            pytest.fail("the feature network was trained again")

        monkeypatch.setattr(features, "_train", refuse)

    return forbid


def test_it_is_trained_once_and_then_read(toy_data, fresh_cache, untrainable):
    first = features.classifier(toy_data)
    assert len(list(fresh_cache.iterdir())) == 1
    untrainable()
    again = features.classifier(toy_data)
    assert again.fingerprint == first.fingerprint
    assert again.accuracy == first.accuracy
    x = toy_data.test.pixels()
    assert torch.equal(again.describe(x)[0], first.describe(x)[0])
    assert not again.body.training


def test_every_data_seed_and_kind_has_its_own(toy_data, fresh_cache):
    others = [
        {"data": toy_data},
        {"data": toy_data, "seed": 1},
        {"data": toy_data, "places": True},
        {"data": replace(toy_data, train=toy_data.train.take(slice(1, None)))},
        {"data": replace(toy_data, train=replace(toy_data.train, labels=(toy_data.train.labels + 1) % 3))},
        {"data": replace(toy_data, class_names=("a", "b", "c", "d"))},
    ]
    marks = {features.classifier(**options).fingerprint for options in others}
    assert len(marks) == len(list(fresh_cache.iterdir())) == len(others)
    renamed = replace(toy_data, name="other", test=toy_data.test.take(slice(5)))
    assert features.classifier(renamed).fingerprint in marks


def test_threads_do_not_decide_the_weights(toy_data, fresh_cache, monkeypatch, tmp_path):
    threads, marks = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path / f"of {n}"))
            torch.set_num_threads(n)
            marks.append(features.classifier(toy_data).fingerprint)
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    assert marks[0] == marks[1]


def test_frechet_of_one_run_is_the_same_with_one_and_two_threads_and_on_a_second_machine(
    monkeypatch, tmp_path, untrainable
):
    """The second machine has the run's folder and an empty cache."""
    data = load(Digits(), image_size=16)
    torch.manual_seed(0)
    method = Autoencoder((1, 16, 16), network=Conv(width=4)).eval()
    run, threads, found = tmp_path / "run", torch.get_num_threads(), []
    try:
        for n in (1, 2):
            monkeypatch.setenv("LATENTMIX_CACHE", str(tmp_path / f"machine {n}"))
            torch.set_num_threads(n)
            with evaluating(method, run):
                found.append(frechet.evaluate(method, data, n=200, draws=2))
            untrainable()
    finally:
        torch.set_num_threads(threads)
    assert found[0].protocol["fingerprints"] == found[1].protocol["fingerprints"]
    assert len(set(found[0].protocol["fingerprints"])) == 2
    numbers = {k: v for k, v in found[0].values.items() if v == v}
    assert {k: found[1].values[k] for k in numbers} == pytest.approx(numbers, abs=1e-6, rel=0)
    assert not (tmp_path / "machine 2").exists()


SECOND = """
import json, sys, torch
from pathlib import Path
from latentmix.data import load
from latentmix.data.sources.digits import Digits
from latentmix.methods.autoencoder import Autoencoder
from latentmix.metrics import evaluating, frechet
from latentmix.metrics.features import classifier
from latentmix.networks.conv import Conv
classifier.STEPS = 20
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)
method = Autoencoder((1, 16, 16), network=Conv(width=4)).eval()
with evaluating(method, Path(sys.argv[1])):
    found = frechet.evaluate(method, load(Digits(), image_size=16), n=200, draws=2)
about = [torch.backends.cpu.get_cpu_capability(), found.values["frechet_reconstruction"]]
print(json.dumps([*about, found.protocol["fingerprints"]]))
"""


@pytest.mark.slow
def test_frechet_of_one_run_is_the_same_on_an_older_processor(tmp_path):
    """Another process with its own cache, the kernels of an older processor, and two threads."""
    older = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    found = []
    for name, threads, kernels in (("here", "1", {}), ("there", "2", older)):
        env = {**os.environ, **kernels, "LATENTMIX_CACHE": str(tmp_path / name)}
        command = [sys.executable, "-c", SECOND, str(tmp_path / "run"), threads]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    (_, here, networks), (capability, there, same) = found
    assert capability in ("AVX2", "DEFAULT")
    assert networks == same
    assert there == pytest.approx(here, abs=1e-6, rel=0)
    assert not (tmp_path / "there" / "features").exists()


def test_the_runs_network_comes_first_and_never_reaches_the_cache(toy_data, fresh_cache, tmp_path):
    """It may be a stranger's: it measures this run, and no other."""
    own = features.classifier(toy_data)
    [file] = fresh_cache.iterdir()
    run = tmp_path / "run"
    stranger = features.Classifier(1, 3)
    kept.write(run / file.name, stranger.state_dict(), "it")
    assert features.classifier(toy_data, folder=run).fingerprint == features.fingerprint(stranger)
    assert features.classifier(toy_data).fingerprint == own.fingerprint
    features.classifier(toy_data, folder=tmp_path / "second run")
    assert (tmp_path / "second run" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "turned", "empty", "foreign", "text"])
def test_a_damaged_file_is_named_and_made_again(toy_data, fresh_cache, damage):
    mark = features.classifier(toy_data).fingerprint
    [file] = fresh_cache.iterdir()
    content = file.read_bytes()
    if damage == "foreign":
        kept.write(file, features.Classifier(1, 7).state_dict(), "it")
    else:
        turned = content[:-9] + bytes([content[-9] ^ 64]) + content[-8:]
        file.write_bytes({"cut": content[:-9], "turned": turned, "empty": b"", "text": b"hello"}[damage])
    with pytest.warns(UserWarning, match=r"trained again"):
        assert features.classifier(toy_data).fingerprint == mark
    assert file.read_bytes() == content
    assert [f.name for f in fresh_cache.iterdir()] == [file.name]


def test_what_killed_processes_left_in_a_run_is_removed_and_what_is_being_written_stays(
    toy_data, fresh_cache, tmp_path
):
    run = tmp_path / "run"
    features.classifier(toy_data, folder=run)
    (whole,) = run.iterdir()
    (run / f"{NEW}1").write_bytes(b"half of something")
    with replacing(run / "other.safetensors") as stream:
        stream.write(b"first half")
        features.classifier(toy_data, folder=run)  # nothing to write: the network is there
        (written,) = run.glob(f"{NEW}*")
        stream.write(b", second half")
    assert {file.name for file in run.iterdir()} == {whole.name, "other.safetensors"}
    assert (run / "other.safetensors").read_bytes() == b"first half, second half"
    assert not written.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_costs_a_warning(toy_data, fresh_cache):
    fresh_cache.mkdir(parents=True)
    fresh_cache.chmod(0o500)
    with pytest.warns(UserWarning, match="is not kept"):
        features.classifier(toy_data)


def test_a_file_in_the_place_of_the_folder_costs_a_warning(toy_data, fresh_cache):
    fresh_cache.parent.mkdir(parents=True)
    fresh_cache.write_text("in the way")
    with pytest.warns(UserWarning, match="is not kept"):
        features.classifier(toy_data)


def test_the_interval_covers_the_choice_of_the_network(toy_data, toy_method):
    """Mixes that are the same in every draw: all that is left in the interval is the network."""
    toy_method.mixer = lambda h, generator: lambda h: 0.5 * h
    values, protocol = frechet.evaluate(toy_method, toy_data, n=200)
    draws = torch.tensor(protocol["frechet_by_draw"], dtype=torch.float64)
    assert values["frechet"] == pytest.approx(float(draws.mean()))
    half = 4.302652729911275 * float(draws.std()) / 3**0.5  # Student's t of three draws
    assert half > 0.01 * values["frechet"]
    assert values["frechet_high"] - values["frechet"] == pytest.approx(half)
    first = frechet.evaluate(toy_method, toy_data, n=200, draws=2).protocol
    assert first["fingerprints"] == protocol["fingerprints"][:2]
    later = frechet.evaluate(toy_method, toy_data, n=200, draws=2, seed=1).protocol
    assert later["fingerprints"] == protocol["fingerprints"][1:]


def test_labels_are_needed(toy_data):
    with pytest.raises(ValueError, match="trained on labels"):
        features.classifier(replace(toy_data, train=Split(toy_data.train.images)))
