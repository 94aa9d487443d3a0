"""What must not be, one rule a file: pure functions that import nothing of the program.

The policy pack beside this folder and the program's config.py both call them.
"""
