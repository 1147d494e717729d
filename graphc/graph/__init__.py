"""WHAT is computed: nodes, graphs, rewriting, order and text; knows no op, loop or machine."""

from graphc.graph import draw as draw  # gives graphs their text, drawing and table
