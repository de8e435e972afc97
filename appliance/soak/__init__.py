"""Many clients for a long time, who behave as clients do: what is lost, what it costs, and whether that grows."""
