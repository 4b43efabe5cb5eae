"""The machine: devices, precision, memory, atomic file writes."""
