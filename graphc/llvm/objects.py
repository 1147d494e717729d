"""What object code says of itself: its functions, their names for people, and their lines."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphc.errors import InputError

Row = tuple[int, str, int]
"""A place in the code, and the file and line that it comes from, up to the next."""


@dataclass(frozen=True)
class Code:
    """A function: its symbol, its name for people, where it lies in its object's code, its lines.

    `linked`: whether a linker finds it by its symbol.
    """

    symbol: str
    title: str
    start: int
    size: int
    linked: bool
    rows: tuple[Row, ...]


def functions(data: bytes) -> list[Code]:
    """The functions of an object, whose code is one section.

    Raises InputError where the library that reads objects is not installed.
    """
    try:
        from elftools.elf.elffile import ELFFile  # optional: the extra `profiling`
    except ImportError as error:
        raise InputError(
            "GRAPHC_PERF needs pyelftools to read object code, and it is not installed: "
            "pip install 'graphc[profiling]'"
        ) from error
    elf = ELFFile(io.BytesIO(data))
    titles: dict[int, str] = {}
    rows: list[Row] = []
    if elf.has_dwarf_info():
        dwarf = elf.get_dwarf_info()
        for unit in dwarf.iter_CUs():
            titles |= titled(unit)
            rows += located(dwarf.line_program_for_CU(unit))
    found = []
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if symbol["st_info"]["type"] != "STT_FUNC" or symbol["st_shndx"] == "SHN_UNDEF":
            continue
        start, size = symbol["st_value"], symbol["st_size"]
        title = titles.get(start, f"graphc {symbol.name}")
        linked = symbol["st_info"]["bind"] == "STB_GLOBAL"
        own = tuple(row for row in rows if start <= row[0] < start + size)
        found.append(Code(symbol.name, title, start, size, linked, own))
    return found


def titled(unit: Any) -> dict[int, str]:
    """The names for people of a unit's functions, by where they lie."""
    parts = [die.attributes for die in unit.get_top_DIE().iter_children()]
    return {
        part["DW_AT_low_pc"].value: part["DW_AT_name"].value.decode()
        for part in parts
        if "DW_AT_low_pc" in part
    }


def located(program: Any) -> Iterator[Row]:
    """The lines of a unit's code; where LLVM gives none, the one before goes on."""
    folders = [b"", *program["include_directory"]]
    files = [
        os.fsdecode(os.path.join(folders[file.dir_index], file.name))
        for file in program["file_entry"]
    ]
    for entry in program.get_entries():
        state = entry.state
        if state is not None and state.line and not state.end_sequence:
            yield state.address, files[state.file - 1], state.line
