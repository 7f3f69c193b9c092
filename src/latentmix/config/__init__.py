"""What a run is: settings from YAML and the command line, and the parts that they may name."""

from latentmix.config.run import YOUNGER as YOUNGER
from latentmix.config.run import ConfigError as ConfigError
from latentmix.config.run import Run as Run
from latentmix.config.run import build as build
from latentmix.config.run import difference as difference
from latentmix.config.run import load as load
from latentmix.config.run import metrics as metrics
from latentmix.config.run import resolve as resolve
