"""WHAT is computed: nodes, graphs, rewriting, order and text; knows no op, loop or machine."""
