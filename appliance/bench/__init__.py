"""Measuring servers of the `/asr` protocol from outside: ours, and a peer's, by the same client on the same audio."""
