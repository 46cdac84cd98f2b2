"""What to train so that open claims are answered, and what it costs."""
