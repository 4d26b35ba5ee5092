"""What forwards: drivers that make the real thing match a desired state."""
