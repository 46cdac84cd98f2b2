"""From a question to records: runs, measurements, and many runs at once."""
