"""What several pages draw, and their way to the store."""
