"""Training loops, and what watches, keeps and shows them."""
