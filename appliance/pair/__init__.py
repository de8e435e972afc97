"""Encoder/decoder pairs on disk: reading both weight formats, locating a pair, refusing one that does not fit."""
