"""What stands on lanes and what an operator does to them."""
