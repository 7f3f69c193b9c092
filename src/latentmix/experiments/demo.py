"""The demo: AE, AE+GAN and AMR on scikit-learn's handwritten digits, side by side.

latentmix demo      under three minutes on two cores; no download, no GPU
"""

from __future__ import annotations

from pathlib import Path

from latentmix import config, runs
from latentmix.apps.page.page import build
from latentmix.reports.exhibit import exhibit
from latentmix.scoring import data_of, evaluate
from latentmix.training.loop import train
from latentmix.training.progress import progress

SHARED = {"data": "digits", "image_size": 16, "epochs": 35}
METHODS = {
    "ae": {"name": "autoencoder"},
    "ae_gan": {"name": "ae_gan"},
    "amr": {"name": "amr", "mixer": {"name": "mixup", "k": 3}},
}


def run(out: Path, seed: int) -> Path:
    """Train, score and draw the three methods, and return the path of AMR's report."""
    folders = []
    for name, method in METHODS.items():
        settings = {**SHARED, "method": method, "seed": seed, "out": str(out / name)}
        with progress() as shown:
            folders.append(train(config.resolve(settings), shown))
    for folder in folders:
        evaluate(folder, ["probe", "honesty"], say=lambda text: None)
    page = exhibit(folders[-1], others=folders[:-1])
    best = runs.open_run(folders[-1])
    mixing = out / "mix.html"
    runs.write_atomically(mixing, build(best, data_of(best)))  # renewed, as the report is
    print("linear probe, accuracy on test images (offline: frozen codes; online: trained along)")
    for folder in folders:
        scores = runs.read_scores(folder)
        offline = scores["probe"]["values"]["offline_accuracy"]
        online = scores["training"]["values"]["test_probe_accuracy"]
        label = runs.open_run(folder).method.label
        print(f"  {label:8} offline {100 * offline:.1f} %  online {100 * online:.1f} %")
    print(f"report: {page}\nmix digits in your browser: {mixing}")
    return page
