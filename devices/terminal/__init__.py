"""What the terminal commands share: who acts, which hub, how things are said and waited for."""
