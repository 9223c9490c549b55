"""The command line: parse, call `shedder.Shedder`, show what it returned."""

from __future__ import annotations

from shedder.cli.program import main

__all__ = ["main"]
