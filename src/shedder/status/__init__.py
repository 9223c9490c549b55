"""How lanes are."""
