"""The command line: reads words, calls `shedder.Shedder`, and shows what it returns."""

from __future__ import annotations

from shedder.cli.app import main

__all__ = ["main"]
