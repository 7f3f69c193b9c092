"""The facts about a run that its folder contains, for pages about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentmix import runs
from latentmix.config import catalogue
from latentmix.data import name_of_path
from latentmix.runs import checkpoints


class Facts:
    """The facts about a run that its folder contains."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = runs.read_config(folder, warn=lambda text: None)  # whoever opened the run said it
        self.log = runs.read_log(folder)
        self.shown = name, about = _shown(folder)
        scores, weights = runs.read_scores(folder), checkpoints.weights_sha256(folder, name or "best")
        # If training continued after scoring, the weights are no longer those that were scored.
        self.outdated = [
            m for m, s in scores.items() if weights and s.get("weights_sha256", weights) != weights
        ]
        self.scores = {m: s for m, s in scores.items() if m not in self.outdated}
        try:
            part = catalogue.get("method", self.config["method"]["name"])
        except ValueError:  # it is not installed
            part = None
        label = about.get("label") or getattr(part and part.make, "label", None)
        self.label = label if isinstance(label, str) else self.config["method"]["name"].replace("_", " ")
        self.encodes = part is None or not part.without("encode")
        data = self.config.get("data", {})
        self.data = name_of_path(data["path"]) if "path" in data else str(data.get("name", "unknown data"))


def _shown(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """Which checkpoint is scored and shown, "" for none, and what is written beside its weights."""
    for name in ("best", "last"):
        if about := checkpoints.description(folder, (name,)):
            return name, about
    return "", {}
