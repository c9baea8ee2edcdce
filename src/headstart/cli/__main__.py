"""``python -m headstart.cli``."""

from headstart.cli.main import main

main()
