"""Features of a frozen network: computed once per image and view, and kept on disk."""
