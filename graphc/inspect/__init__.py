"""Looking inside, for people: programs as coloured text, graphs for networkx, the host."""

from graphc.inspect.colour import write
from graphc.inspect.host import examine
from graphc.inspect.text import as_text, program_of, to_networkx

__all__ = ["as_text", "examine", "program_of", "to_networkx", "write"]
