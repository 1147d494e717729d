"""HOW it is computed: loop nests and their rewrites; knows formulas and index maps, not ops."""
