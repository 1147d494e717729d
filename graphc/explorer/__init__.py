"""The explorer page: everything that compiling a program decided, linked, in one HTML file."""
