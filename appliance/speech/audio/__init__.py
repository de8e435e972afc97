"""Any audio in, 16 kHz mono float32 out: whole files, or piece by piece as it arrives."""
