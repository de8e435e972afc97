"""Passes in a process of their own, so that what kills or hangs them ends no stream but its own."""
