"""Looks at a server's surroundings: what was seen, how bad it is, what to do. scripts/doctor.sh does it at a site."""
