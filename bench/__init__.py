"""Measurements, by real machines and the real kernel: `python -m bench network | forward-delay`."""
