"""Run folders, which hold configuration, checkpoints, log and scores."""

from latentmix.atomic import write_atomically as write_atomically
from latentmix.atomic import write_together as write_together
from latentmix.runs.files import RunError as RunError
from latentmix.runs.folder import alone as alone
from latentmix.runs.folder import describe_data as describe_data
from latentmix.runs.folder import in_use as in_use
from latentmix.runs.folder import prepare as prepare
from latentmix.runs.folder import read_config as read_config
from latentmix.runs.folder import read_data_description as read_data_description
from latentmix.runs.folder import read_environment as read_environment
from latentmix.runs.log import Log as Log
from latentmix.runs.log import read_log as read_log
from latentmix.runs.opened import OpenRun as OpenRun
from latentmix.runs.opened import describe as describe
from latentmix.runs.opened import make_method as make_method
from latentmix.runs.opened import open_run as open_run
from latentmix.runs.scores import add_score as add_score
from latentmix.runs.scores import read_scores as read_scores
