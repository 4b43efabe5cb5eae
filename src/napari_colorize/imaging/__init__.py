"""Color spaces, arrays to planes and back, resampling: functions without I/O or networks."""
