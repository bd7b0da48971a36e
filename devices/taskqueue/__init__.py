"""Wake-ups, leases, quarantine and health of the task queue."""
