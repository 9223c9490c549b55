"""The command line: parse, call `shedder.Shedder`, show what it returned."""

from __future__ import annotations

from shedder.cli.app import main

__all__ = ["main"]
