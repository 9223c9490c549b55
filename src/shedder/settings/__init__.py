"""Flags and limits."""
