"""`python -m graphc.cli`, the same as `graphc`."""

from graphc.cli.group import main

main(prog_name="graphc")
