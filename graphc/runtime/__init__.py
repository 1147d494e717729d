"""The running program: binding of arrays, the arena, the call."""
