"""Features -> a trained tail and its history."""
