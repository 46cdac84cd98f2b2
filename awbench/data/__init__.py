"""Datasets, transforms and the order in which samples are seen."""
