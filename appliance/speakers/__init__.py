"""Who speaks when, and whose each word is."""
