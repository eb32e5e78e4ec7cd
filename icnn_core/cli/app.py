"""What both console scripts share: the app, how it ends, and what is printed where.

Cheap to import, so that `--help` stays fast: rich, torch and the rest wait inside functions.
"""

from __future__ import annotations

import copy
import errno
import importlib
import importlib.util
import io
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from icnn_core.cli._placeholders import style
from icnn_core.errors import DataError, IcnnError
from icnn_core.files import explain
from icnn_core.text import to_line, to_visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.progress import Progress

_LOGGERS = ("icnn_core", "icnn_viz")


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from icnn_core import __version__

    typer.echo(f"icnn {__version__}")
    raise typer.Exit


class _Group(TyperGroup):
    """Commands whose options have placeholders of one style."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for command in self.commands.values():
            style(command)


def make_app(name: str, text: str, earlier: Mapping[str, str] | None = None) -> typer.Typer:
    """A typer app with --version, -q and -v, plain where its output is not a terminal.

    Args:
        name: the console script's name, which starts its error lines.
        text: what `--help` says first.
        earlier: options' earlier names, without dashes, to those that they have now: taken, and not shown.
    """
    known = dict(earlier or {})
    rich = all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))
    app = typer.Typer(
        name=name,
        cls=_Group,
        help=text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown" if rich else None,
        context_settings={
            "help_option_names": ["--help", "-h"],
            "token_normalize_func": lambda option: known.get(option, option),
        },
    )

    @app.callback(help=text)
    def _options(
        version: Annotated[
            bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
        ] = False,
        quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
        verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more of what is done.")] = False,
    ) -> None:
        _set_level(logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING)

    return app


def add_commands(app: typer.Typer, package: str, names: Iterable[str]) -> None:
    """Register `command` of each module `package.name` under its name, in the order given.

    A module that is not there is left out; one that fails to import raises.
    """
    for name in names:
        module = f"{package}.{name.replace('-', '_')}"
        if importlib.util.find_spec(module):
            app.command(name)(importlib.import_module(module).command)


def run(app: typer.Typer) -> NoReturn:
    """Run `app` on the command line and exit: 0 done, 1 a known error (one line), 2 usage, 130 interrupted.

    An exception that is not an IcnnError is a bug and keeps its traceback.
    """
    name = str(app.info.name)
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what an old console cannot show is written as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name=name)
    except IcnnError as error:
        print(f"{name}: error: {to_visible(' '.join(str(error).split()))}", file=sys.stderr)
        sys.exit(1)
    finally:
        _flush_stdout(name)
    sys.exit(0)


def make_console(*, json: bool = False) -> Console:
    """The console for people: stdout, or stderr where stdout belongs to `--json`; silent with -q.

    Colour and movement only where the stream is a terminal, whatever the environment asks for.
    """
    stream = sys.stderr if json else sys.stdout
    terminal = stream.isatty()
    columns = os.environ.get("COLUMNS", "")
    width = None if terminal else max(100, int(columns) if columns.isdecimal() else 0)
    style = {"force_terminal": terminal, "width": width, "highlight": False, "emoji": False}
    style |= {"markup": False}  # names may hold [brackets]
    console = _make_safe_console(file=stream, quiet=is_quiet(), **style)
    console.soft_wrap = not terminal  # a path in a log must stay on one line
    return console


_NAMES = 30  # letters of names in a piped table's first column; longer ones make it wider, so that others keep room


def _make_safe_console(file: TextIO, **options: Any) -> Console:
    """A console on which no name that is printed can move the cursor, set the title or hide what stands beside it."""
    from rich.console import Console
    from rich.segment import Segment
    from rich.table import Table

    class SafeConsole(Console):
        def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            columns = list(renderable.columns) if isinstance(renderable, Table) else []
            for column in columns:
                column._cells[:] = [to_line(c) if isinstance(c, str) else c for c in column._cells]
            names = [str(cell) for cell in columns[0]._cells] if columns and not self.is_terminal else []
            if names and not any(" " in name for name in names):  # whole, for who searches them
                columns[0].no_wrap, options = True, options or self.options
                options = options.update_width(self.width + max(0, max(map(len, names)) - _NAMES))
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else to_visible(segment.text)
                yield segment if text == segment.text else Segment(text, segment.style)

    return SafeConsole(file=_Lasting(file), **options)  # pyright: ignore[reportArgumentType]


def make_progress() -> Progress:
    """A progress bar on stderr, shown only where that is a terminal and -q was not given."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = sys.stderr.isatty()
    console = _make_safe_console(file=sys.stderr, force_terminal=terminal)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=is_quiet() or not terminal)


def print_json(result: dict[str, Any]) -> None:
    """Print `result` as one JSON object on stdout. Arrays become lists, and what is not finite null."""
    text = json.dumps(_to_plain(result), indent=2, ensure_ascii=False, allow_nan=False)
    print(text, file=_Lasting(sys.stdout))  # pyright: ignore[reportArgumentType]


def is_quiet() -> bool:
    """Whether -q was given."""
    return logging.getLogger(_LOGGERS[0]).level >= logging.ERROR


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _to_plain(value.tolist())
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return str(value) if isinstance(value, Path) else value


class _VisibleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = copy.copy(record)
        told.msg, told.args = to_line(record.getMessage()), None
        return to_visible(super().format(told))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is by then: the stream that it was may have been closed."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sys.stderr


def _set_level(level: int) -> None:
    handler = _StderrHandler()
    handler.setFormatter(_VisibleFormatter("%(name)s: %(levelname)s: %(message)s"))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers[:] = [handler]
    # A letter without a bold face is no news:
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


class _Lasting:
    """A stream whose reader may leave, as `| head -1` does, be closed, or lie on a full disk: what follows is lost, and
    the work goes on. A full disk under stdout is told at the end (`failures`)."""

    failures: ClassVar[list[OSError]] = []

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._outlived():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._outlived():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _outlived(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO, errno.EBADF) and self._stream is sys.stdout:
                self.failures.append(error)
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _open_what_is_closed() -> None:
    """Streams that were closed, as by `>&-`, lead nowhere: else the next file would be opened in their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _flush_stdout(name: str) -> None:
    """Raises SystemExit: what was printed could not be kept."""
    _Lasting(sys.stdout).flush()
    if _Lasting.failures:
        got, fix = explain(_Lasting.failures.pop())
        error = DataError("what is printed", needed="a stdout that takes it", got=got, fix=fix)
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(1)
