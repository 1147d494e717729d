"""The dictionary: index signatures, scalar formulas, and the ops that are made of them."""
