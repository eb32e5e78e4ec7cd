"""A network, or a pair, told to a reader on one page of HTML that needs nothing but a browser."""

from icnn_viz.report.findings import Findings, Run, Seen
from icnn_viz.report.page import build_report, write_report

__all__ = ["Findings", "Run", "Seen", "build_report", "write_report"]
