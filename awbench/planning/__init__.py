"""What to run until studies are answered, and what it costs."""
