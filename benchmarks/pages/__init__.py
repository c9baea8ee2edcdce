"""The pages of the benchmarks: README.md, and one README.md per folder with all tables and plots."""
