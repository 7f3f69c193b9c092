"""The report of a run, a single page that opens without a server or network."""

from latentmix.reports.page import write as write
