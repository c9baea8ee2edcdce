"""The report of a run as one HTML page, and charts as PNG. No torch, no network."""

from headstart.report.charts import history_plot, rank_plot, sheet, top_k_plot
from headstart.report.collect import ReportData
from headstart.report.page import render, write_report
from headstart.report.sections import Section, register_section

__all__ = [
    "ReportData",
    "Section",
    "history_plot",
    "rank_plot",
    "register_section",
    "render",
    "sheet",
    "top_k_plot",
    "write_report",
]
