"""A folder to upload to a model hub: a run with its weights, a model card, scores and a picture of mixes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import yaml
from jinja2 import Environment, StrictUndefined
from safetensors.torch import load_file

import latentmix
from latentmix.apps.traced import code_shape
from latentmix.apps.trained_reader import FILE as READER
from latentmix.config import catalogue
from latentmix.data import Data
from latentmix.methods.portions import device_of, in_portions
from latentmix.pictures import figures
from latentmix.reports.exhibit import choose
from latentmix.runs import checkpoints
from latentmix.runs.files import write_json, write_yaml
from latentmix.runs.opened import OpenRun, open_run
from latentmix.runs.scores import read_scores

CARD = """\
---
library_name: latentmix
pipeline_tag: image-to-image
tags: [autoencoder, mixup, representation-learning]
---
# {{ label }} on {{ data }}

An autoencoder whose codes can be mixed: images of {{ shape[1] }}x{{ shape[2] }} pixels with {{ shape[0] }}
channel{{ "" if shape[0] == 1 else "s" }}, codes of shape {{ code_shape }}. Trained with
latentmix {{ version }}, after "On Adversarial Mixup Resynthesis" (Beckham et al., NeurIPS 2019).

![Mixes of test images: real images at both ends, decoded mixes between them](mixes.png)

## Use

The folder is a run of latentmix. Images are float32 in [-1, 1], in the order batch, channels, height, width.

```python
import latentmix

run = latentmix.open_run("{{ name }}")
h = run.method.encode(images)
mixes = run.method.decode(latentmix.Mixup()(h)(h))
```

    latentmix mix {{ name }} one.png two.png

## Training

{{ length }} with seed {{ seed }}; checkpoint "{{ checkpoint }}", SHA-256 of the weights
`{{ sha256 }}`.

```yaml
{{ settings }}```

## Scores
{% if scores %}

| metric | value |
|---|---|
{% for name, value in scores %}
| {{ name }} | {{ value }} |
{% endfor %}

Protocols are in `scores.json`.
{% else %}

None were computed: `latentmix evaluate RUN probe honesty` adds them.
{% endif %}

## Limits

The model knows images like those of {{ data }} at this size. Other pictures are encoded without an error
message, and their mixes are then often unlike any image: compare each picture with its reconstruction first.
The training data: {{ licence }}.
"""


def write(run: OpenRun, data: Data, folder: Path, name: str) -> None:
    """Fill an empty folder, and open it as a run: codes and images must be those of the original, to the bit.

    Arguments:
        name: What the folder will be called.

    Raises:
        ValueError: They are not.
    """
    home = run.folder / "checkpoints" / run.checkpoint
    settings = {**_portable(run.config), "out": name}
    description = {**run.description, **({"run": settings} if "run" in run.description else {})}
    checkpoints.save(folder, "best", load_file(home / checkpoints.WEIGHTS), description)
    write_yaml(folder / "config.yaml", settings)
    if (run.folder / READER).is_file():
        (folder / READER).write_bytes((run.folder / READER).read_bytes())
    scores = read_scores(run.folder)
    write_json(folder / "scores.json", scores)
    rows = choose(data.test, 8, 0)
    x1, x2 = data.test.pixels(rows.to(data.test.images.device)).cpu().split(4)
    drawn = figures.mixup_paths({run.method.label: run.method}, x1, x2)
    figures.interpolations(drawn, folder / "mixes.png", ends=torch.stack([x1, x2], 1))
    (folder / "README.md").write_text(_card(run, data.name, settings, scores))

    again = open_run(folder)
    x = torch.cat([x1, x2])
    h = in_portions(again.method, "encode", x)
    same = device_of(run.method).type != "cpu" or torch.equal(h, in_portions(run.method, "encode", x))
    if not same or not bool(in_portions(again.method, "decode", h).isfinite().all()):
        raise ValueError(f"{folder} does not compute what {run.folder} computes")


def _portable(config: dict[str, Any]) -> dict[str, Any]:
    """The settings without the names of this machine's folders."""
    data = config["data"]
    path = data.get("path") if isinstance(data, dict) else None
    named = {**data, "path": Path(path).name} if isinstance(path, str) else data
    return {**config, "data": named, "out": Path(config["out"]).name, "device": "auto"}


def _licence(data: dict[str, Any]) -> str:
    part = catalogue.get("data", data["name"])
    return getattr(part and part.make, "licence", "their licence is not recorded here")


def _card(run: OpenRun, data: str, settings: dict[str, Any], scores: dict[str, Any]) -> str:
    values = [
        (f"{metric}: {name}", "undefined" if value is None or math.isnan(value) else f"{value:.4g}")
        for metric, score in scores.items()
        for name, value in score["values"].items()
    ]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return environment.from_string(CARD).render(
        label=run.method.label,
        name=settings["out"],
        data=data,
        licence=_licence(settings["data"]),
        shape=run.shape,
        code_shape=code_shape(run.method),
        version=latentmix.__version__,
        length=f"{settings['epochs']} epochs" if settings["epochs"] else f"{settings['steps']} steps",
        seed=settings["seed"],
        checkpoint=run.checkpoint,
        sha256=run.weights_sha256,
        settings=yaml.safe_dump(settings, sort_keys=False),
        scores=values,
    )
