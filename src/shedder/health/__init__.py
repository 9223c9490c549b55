"""The health of an installation: audit, check-up, repair and uninstall."""
