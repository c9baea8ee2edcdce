"""The routes of the studio, one file per topic."""
