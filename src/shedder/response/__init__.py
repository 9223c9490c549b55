"""What helps whoever answers an incident."""
