"""The ear: 16 kHz mono audio in, words out. Imports neither starlette nor asyncio."""
