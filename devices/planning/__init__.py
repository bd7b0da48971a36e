"""Plans: installs that may start later, and who asks for them: queues and proposals."""
