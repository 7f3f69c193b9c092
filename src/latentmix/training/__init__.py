"""The training loop, which serves every method, and the step that it repeats."""

from latentmix.training.fleet import train_fleet as train_fleet
from latentmix.training.loop import Interrupted as Interrupted
from latentmix.training.loop import Silent as Silent
from latentmix.training.loop import Trainer as Trainer
from latentmix.training.loop import train as train
from latentmix.training.record import NonFinite as NonFinite
from latentmix.training.step import make_optimisers as make_optimisers
