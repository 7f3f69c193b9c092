"""The settings of `protocol=paper`: what the published code ran, as far as it is known.

Settings that a user gives are kept; `deviations` lists those that differ from the protocol. `protocol=clean`,
the default, changes nothing. Ten batches by protocol=paper equal the published step of AE+GAN, AMR, ACAI of
AMR and the VAE to 1e-9 in float64 (tests/methods/test_published_step.py).

References:
    The code published with "On Adversarial Mixup Resynthesis" and with "Manifold Mixup", first version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]
AMR = ("ae_gan", "amr", "acai_of_amr", "amr_classes", "amr_labels", "amr_learned")
MANIFOLD_LAYERS = ("input", "layer1", "layer2")


def filled(settings: Settings) -> dict[str, Any]:
    """Fill in the settings of protocol=paper where the user gave none; other protocols change nothing.

    Arguments:
        settings: Nested settings as a user gives them; "method" is a name or {"name": ..., option: value}.
    """
    if settings.get("protocol") != "paper":
        return dict(settings)
    return _beneath(settings, of_paper(settings))


def of_paper(settings: Settings) -> dict[str, Any]:
    """Return what protocol=paper sets for the method, mixer, network and data of these settings."""
    method = _spec(settings.get("method", "amr"))
    name = method.get("name", "amr")
    if name in AMR:
        return {**STEADY, **_amr(method)}
    rule: Callable[[Settings, str], dict[str, Any]] | None = OTHERS.get(name)
    data = _spec(settings.get("data", "digits"))
    folder = Path(str(data.get("path") or data.get("name", ""))).name
    return {} if rule is None else {**STEADY, **rule(method, folder)}


def deviations(run: Settings) -> list[str]:
    """List what differs from protocol=paper in a resolved run that names it: "lr: 0.001 (paper: 0.0001)"."""
    if run.get("protocol") != "paper":
        return []
    wanted, found = _flat(of_paper(run)), _flat(run)
    return [
        f"{key}: {found.get(key)} (paper: {value})"
        for key, value in wanted.items()
        if found.get(key) != value
    ]


def listed(method: str) -> list[str]:
    """Spell what protocol=paper sets for a method, and for its options and data where they matter.

    Returns:
        Lines such as "batch_size=64, lr=0.0001" and "method.mixer=bernoulli: method.mixer.p=batch"; none for
        a method that it does not change.
    """
    plain = _flat(of_paper({"method": method}))
    lines = [_spelt(plain)] if plain else []
    for words, (settings, methods) in CASES.items():
        if method in methods:
            options = dict(settings.get("method", {}))
            here = _flat(of_paper({**settings, "method": {"name": method, **options}}))
            changed = {key: value for key, value in here.items() if plain.get(key, ...) != value}
            lines.append(f"{words}: {_spelt(changed)}")
    return lines


def _spelt(settings: Settings) -> str:
    values = {k: str(v).lower() if isinstance(v, bool) or v is None else v for k, v in settings.items()}
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _amr(method: Settings) -> dict[str, Any]:
    """One autoencoder step in every five, L1, the odd initialisation, and one p for all masks of a batch.

    On sprites, with the network "burgess": cross-entropy summed over pixels, and no weight decay.
    """
    network = _spec(method.get("network", {})).get("name", "conv")
    sprites = network == "burgess"
    options: dict[str, Any] = {"reconstruction": "bce_sum" if sprites else "l1"}
    if network in ("conv", "burgess"):
        options["network"] = {"variant": "paper"}
    mixer = _spec(method.get("mixer", {}))
    if mixer.get("name") == "bernoulli":
        # In the published code, masks for more than two parents choose each parent with equal probability.
        options["mixer"] = {"p": "batch" if mixer.get("k", 2) == 2 else "unit"}
    decay = {"weight_decay": 0.0} if sprites else {}
    return {**_ADAM, **decay, "subset": "first", "every": {"autoencoder": 5}, "method": options}


def _vae(method: Settings, data: str) -> dict[str, Any]:
    network = _spec(method.get("network", {})).get("name", "conv")
    start = {"network": {"variant": "paper"}} if network in ("conv", "burgess") else {}
    return {**_ADAM, "method": {"variant": "paper", **start}}


def _vq_vae(method: Settings, data: str) -> dict[str, Any]:
    """The code of ACAI revives no codeword."""
    return {"method": {"revive": 0}}


def _classifier(method: Settings, data: str) -> dict[str, Any]:
    """Table 1: batches of 128, crops after padding by 4; mixed networks have another loss than plain ones."""
    layers = method.get("layers", MANIFOLD_LAYERS)
    plain = layers in ("none", [], ()) or list(layers) == ["none"]
    options: dict[str, Any] = {"loss": "cross_entropy" if plain else "bce_on_softmax"}
    if data in ("cifar10", "cifar100", "svhn"):
        options["statistics"] = data
    sgd = {"batch_size": 128, "lr": 0.1, "keep_last": True}
    return {**sgd, "crop": 4, "flip": data != "svhn", "method": options}


def _semi_supervised(method: Settings, data: str) -> dict[str, Any]:
    """Appendix C, in the form of the published code."""
    cifar = data == "cifar10"
    options = {"form": "paper", "zca": cifar, "weight": 1.0 if cifar else 2.0}
    return {"batch_size": 100, "lr": 0.1, "crop": 2, "flip": cifar, "method": options}


def _factor_mixing(method: Settings, data: str) -> dict[str, Any]:
    return {"batch_size": 128, "lr": 1e-4, "image_size": 64}


def _hidden_decoder(method: Settings, data: str) -> dict[str, Any]:
    return {"batch_size": 32, "lr": 1e-4, "keep_last": True}


def _gan(method: Settings, data: str) -> dict[str, Any]:
    """Section 4.4 of Manifold Mixup: n_dis = 5 with spectral norm, 1 with the penalty."""
    penalised = bool(method.get("penalty"))
    hidden = "stem" in method.get("places", ())
    options: dict[str, Any] = {"form": "paper"}
    if _spec(method.get("network", "gan_residual")).get("name", "gan_residual") == "gan_residual":
        bypass = "identity" if penalised and not hidden else "convolution"
        options["network"] = {
            "name": "gan_residual",
            "spectral": not penalised,
            "stem": hidden,
            "bypass": bypass,
        }
    every = {"generator": 1 if penalised else 5}
    return {"batch_size": 64, "lr": 2e-4, "image_size": 32, "keep_last": True, "every": every} | {
        "method": options
    }


# No code here has a schedule besides a method's own drops, nor a rate of the probe's own.
STEADY: dict[str, Any] = {"schedule": "constant", "probe_lr": None}
_ADAM: dict[str, Any] = {"batch_size": 64, "lr": 1e-4, "keep_last": True, "validate_every": 1}
OTHERS: dict[str, Callable[[Settings, str], dict[str, Any]]] = {
    "vae": _vae,
    "vq_vae": _vq_vae,
    "classifier": _classifier,
    "semi_supervised": _semi_supervised,
    "factor_mixing": _factor_mixing,
    "hidden_decoder": _hidden_decoder,
    "gan": _gan,
}


MIXING = tuple(name for name in AMR if name not in ("ae_gan", "amr_learned"))
# What else protocol=paper looks at: {how it is typed: (settings, the methods that it concerns)}.
CASES: dict[str, tuple[Settings, tuple[str, ...]]] = {
    "method.mixer=bernoulli": ({"method": {"mixer": "bernoulli"}}, MIXING),
    "method.mixer=bernoulli method.mixer.k=3": ({"method": {"mixer": {"name": "bernoulli", "k": 3}}}, MIXING),
    "method.network=burgess": ({"method": {"network": "burgess"}}, ("ae_gan", "amr", "acai_of_amr")),
    "method.layers=none": ({"method": {"layers": "none"}}, ("classifier",)),
    "method.penalty=10": ({"method": {"penalty": 10.0}}, ("gan",)),
    "data=cifar10": ({"data": "cifar10"}, ("classifier", "semi_supervised")),
    "data=svhn": ({"data": "svhn"}, ("classifier",)),
}


def _spec(part: Any) -> dict[str, Any]:
    return dict(part) if isinstance(part, Mapping) else {"name": part} if part else {}


def _beneath(given: Settings, defaults: Settings) -> dict[str, Any]:
    """Fill in `defaults` where `given` has no value, recursively; a part may be given by its name alone."""
    result = dict(given)
    for key, value in defaults.items():
        if isinstance(value, Mapping) and key in result and key != "every":
            result[key] = _beneath(_spec(result[key]), value)
        else:
            result.setdefault(key, value)
    return result


def _flat(tree: Settings, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
