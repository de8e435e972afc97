"""What was said, in another language: a model, sentences, and a layer around a stream."""
