"""From records to answers: which are evidence, statistics of gains, claims, counts, agreement of single numbers."""
