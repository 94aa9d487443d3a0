"""What a lab consists of. Components declare; they never open a connection."""
