"""What shedder costs every day, and how fast it is in the bad hour."""
