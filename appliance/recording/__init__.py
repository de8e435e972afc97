"""A recording on its way to text: which part of it, through what, and in which form the text is given out."""
