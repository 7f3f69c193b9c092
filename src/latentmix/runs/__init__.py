"""Run folders, which hold configuration, checkpoints, log and scores."""

from latentmix.runs.checkpoints import RunError as RunError
from latentmix.runs.folder import Log as Log
from latentmix.runs.folder import OpenRun as OpenRun
from latentmix.runs.folder import add_score as add_score
from latentmix.runs.folder import alone as alone
from latentmix.runs.folder import describe as describe
from latentmix.runs.folder import describe_data as describe_data
from latentmix.runs.folder import make_method as make_method
from latentmix.runs.folder import open_run as open_run
from latentmix.runs.folder import prepare as prepare
from latentmix.runs.folder import read_config as read_config
from latentmix.runs.folder import read_log as read_log
from latentmix.runs.folder import read_scores as read_scores
from latentmix.runs.folder import write_atomically as write_atomically
