"""Measuring models: metrics, evaluation runs, calibration, reports."""
