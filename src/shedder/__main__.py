"""`python -m shedder` is `shedder`."""

from __future__ import annotations

from shedder.cli.app import main

if __name__ == "__main__":
    main()
