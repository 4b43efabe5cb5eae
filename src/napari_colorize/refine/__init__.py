"""Refinement of predicted chrominance before composition. Every step is a pure function."""
