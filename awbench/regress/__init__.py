"""Is one version of the code slower than another, on this machine, now?"""
