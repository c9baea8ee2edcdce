"""A run folder as one HTML page, and single pictures as PNG. No torch, no network, no script."""

from headstart.report.charts import history_plot, rank_plot, sheet, top_k_plot
from headstart.report.collect import ReportData, collect
from headstart.report.page import render, write_report

__all__ = ["ReportData", "collect", "history_plot", "rank_plot", "render", "sheet", "top_k_plot", "write_report"]
