"""Status and text from the cloud in; what happened, is the hub safe, what to do out."""
