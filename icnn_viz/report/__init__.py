"""A network, or a pair, told to a reader on one page of HTML that needs nothing but a browser."""

from icnn_viz.report.commands import list_commands
from icnn_viz.report.findings import Findings, Pixels, find_out
from icnn_viz.report.page import build_report, write_report

__all__ = ["Findings", "Pixels", "build_report", "find_out", "list_commands", "write_report"]
