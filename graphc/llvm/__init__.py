"""The machine: loop nests to LLVM IR text to native code; the only importer of llvmlite."""
