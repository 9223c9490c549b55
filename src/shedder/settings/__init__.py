"""Flags and limits: what code declares, and what operators set."""
