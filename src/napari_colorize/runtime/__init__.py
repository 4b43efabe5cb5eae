"""Access to the machine: devices, precision, memory, atomic file writes."""
