"""The gate of a CI: what is measured held to what it must be."""
