"""What a team decided on a quiet day."""
