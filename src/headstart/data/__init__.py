"""Images and labels: from folders and tables to a manifest, from bytes to upright RGB pixels."""
