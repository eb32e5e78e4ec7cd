"""The reference of all commands, as Markdown: `python docs/write_commands.py` writes docs/reference/commands.md."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from icnn_core import cli as core
from icnn_core.cli._placeholders import choices_of, value_kind
from icnn_viz import cli as viz

_HEAD = """# Commands

Written by `python docs/write_commands.py` from what `--help` says. `-q` (errors only) and `-v` (more words) stand
before the command: `icnn -v train`. Every command ends with 0 if all went well, with 1 and one line that says what to
mend, with 2 if it was called wrongly, with 130 after Ctrl-C. `icnn --install-completion` and `icnn-viz
--install-completion` teach your shell to complete commands and options.
"""
_FOLDER = Path("docs/reference")


def to_reference() -> str:
    """The page's text: both console scripts, each command with its arguments, options and example."""
    import typer.main

    parts = [_HEAD]
    for package in (core, viz):
        group: Any = typer.main.get_command(package.build_app())
        parts.append(f"## {group.name}\n\n{_flowing(str(group.help).partition('Example:')[0])}\n")
        for name, command in group.commands.items():
            hints = get_type_hints(
                importlib.import_module(f"{package.__name__}.{name.replace('-', '_')}").command
            )
            parts.append(_to_section(f"{group.name} {name}", command, hints))
    return "\n".join(parts)


def _to_section(name: str, command: Any, hints: Mapping[str, Any]) -> str:
    text, _, example = str(command.help).partition("Example:")
    lines = [f"### {name}", "", _flowing(text), ""]
    if example:
        lines += ["```bash", " ".join(example.split()), "```", ""]
    rows = list(_to_rows(command.params, hints))
    if rows:
        lines += ["| | what | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _to_rows(params: list[Any], hints: Mapping[str, Any]) -> Iterator[str]:
    """One row of the table for every argument and option, in the order of `--help`."""
    for param in params:
        if param.param_type_name == "argument":
            name = f"`{param.metavar or param.name.upper()}`"
        else:
            value = "" if param.is_flag else f" {param.metavar or _kind(hints[param.name])}"
            short = sorted(param.opts, key=len)
            flags = [*short, *param.secondary_opts]
            name = ", ".join(f"`{flag}`" for flag in flags[:-1])
            name += (", " if len(flags) > 1 else "") + f"`{flags[-1]}{value}`"
        what = _flowing(param.help or "").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
        yield f"| {name.replace('|', chr(92) + '|')} | {what} | {_default(param)} |"


def _kind(hint: Any) -> str:
    """What an option takes, in a word, from its annotation: a choice is listed."""
    kind = value_kind(hint)
    return "|".join(choices_of(kind)) or {int: "N", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def _default(param: Any) -> str:
    if param.required:
        return "needed"
    default = param.default
    if callable(default) or default is None or default is False or default in ([], ()):
        return ""
    return f"`{getattr(default, 'value', default)}`"


def _flowing(text: str | None) -> str:
    """Paragraphs without the breaks of their lines."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").strip().split("\n\n"))


def main() -> None:
    """Write the page into the folder given, by default docs/reference of the working folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=_FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "commands.md").write_text(to_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
