"""How a command reaches Redis."""
