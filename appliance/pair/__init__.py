"""Encoder/decoder pairs: reading both formats, deriving one half from the other, proving and locating them."""
