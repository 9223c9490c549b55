"""The demo: a clogged queue of 200,000 jobs, and what an operator does about it."""

from __future__ import annotations

from shedder.demo.program import main

__all__ = ["main"]
