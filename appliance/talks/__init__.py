"""Talks whose speakers are known, and how well a diarizer tells them apart."""
