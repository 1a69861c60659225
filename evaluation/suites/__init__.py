"""Suites of prompts, runs that make clips of them, and who makes the clips."""
