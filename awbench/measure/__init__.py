"""Model in, numbers out: no printing, no files."""
