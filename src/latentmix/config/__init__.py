"""The configuration of runs: settings from YAML files and the command line, and the parts they may name."""

from latentmix.config.run import NOT_IN_OLD_KEYS as NOT_IN_OLD_KEYS
from latentmix.config.run import Run as Run
from latentmix.config.settings import ConfigError as ConfigError
from latentmix.config.settings import build as build
from latentmix.config.settings import difference as difference
from latentmix.config.settings import load as load
from latentmix.config.settings import make as make
from latentmix.config.settings import metrics as metrics
from latentmix.config.settings import read as read
from latentmix.config.settings import resolve as resolve
from latentmix.config.stored import UnknownSettings as UnknownSettings
from latentmix.config.stored import changed as changed
from latentmix.config.stored import moved as moved
from latentmix.config.stored import stored as stored
from latentmix.config.stored import stored_part as stored_part
