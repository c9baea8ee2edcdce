"""Parallel work: executors by kind, and the memory of the process that does it."""

from __future__ import annotations

from headstart.execution.base import Executor, available_cores, default_kind, open_executor, register_executor
from headstart.execution.local import open_processes, open_threads

__all__ = ["Executor", "available_cores", "default_kind", "open_executor", "register_executor"]

register_executor("threads", open_threads)
register_executor("processes", open_processes)
