"""Hostile input for all that reads what others wrote. `make fuzz` runs it for long, the ordinary tests in short."""
