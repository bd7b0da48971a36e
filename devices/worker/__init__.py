"""The loops that carry out due cloud calls, and the watchdog that restarts them."""
