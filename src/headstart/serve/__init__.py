"""The HTTP server of ``headstart serve``: routes, limits and templates over inference/ and workflow/; no logic."""
