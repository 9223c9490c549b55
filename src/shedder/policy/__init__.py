"""The policy: what a team decides on a quiet day about its work."""
