"""The report of a run: one page that opens from the disk."""

from latentmix.report.page import write as write
