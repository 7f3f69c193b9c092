"""The one training loop, and the step that it repeats."""

from latentmix.training.loop import Interrupted as Interrupted
from latentmix.training.loop import NonFinite as NonFinite
from latentmix.training.loop import Trainer as Trainer
from latentmix.training.loop import train as train
