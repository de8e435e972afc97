"""Files over HTTP: uploads, the queue, and the forms in which OpenAI's and WhisperX's clients ask and are answered."""
