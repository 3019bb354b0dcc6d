"""Options of ``fcp-run``: in groups, most people's first, and those of `Settings` from its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fcp_runtime.setting_rows import GROUPS
from fcp_runtime.settings import DEFAULTS, MODES, ROWS

if TYPE_CHECKING:
    from fcp_runtime.setting_rows import Row

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

ALL = "fcp_runtime.help_all"
"""Where click's context keeps that every option is to be shown."""

FILES, OUTPUTS = "Input and mask", "Other outputs"
FILMS, BATCH, OTHER = "Films", "Many inputs", "Other"

ORDER = (FILES, GROUPS["nuclei"], OUTPUTS, FILMS, BATCH, *list(GROUPS.values())[1:], OTHER)
"""Titles of the groups, in the order of the help."""


class GroupedOption(click.Option):
    """An option that knows its group in the help, and whether most people need it."""

    def __init__(
        self, *names: Any, group: str = OTHER, common: bool = False, **details: Any
    ) -> None:
        super().__init__(*names, **details)
        self.group, self.common = group, common


class GroupedCommand(click.Command):
    """A command whose ``--help`` shows what most people need, and ``--help-all`` everything."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        everything = ctx.meta.get(ALL, False)
        for title in ORDER:
            records = [
                record
                for option in self.get_params(ctx)
                if isinstance(option, click.Option)
                and getattr(option, "group", OTHER) == title
                and (everything or getattr(option, "common", True))
                and (record := option.get_help_record(ctx)) is not None
            ]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if not everything:
            formatter.write_paragraph()
            formatter.write_text("--help-all shows every option.")


def option(*names: str, group: str = OTHER, common: bool = False, **details: Any) -> Decorator:
    """Return a decorator that adds an option of a group."""
    return click.option(*names, cls=GroupedOption, group=group, common=common, **details)


def help_all(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--help-all``."""

    def show(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            context.meta[ALL] = True
            click.echo(context.get_help())
            context.exit()

    add = option(
        "--help-all",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        common=True,
        help="Show every option and exit.",
    )
    return add(function)


def setting_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every setting, as its row says."""
    for name, row in reversed(ROWS.items()):
        function = _setting_option(name, row)(function)
    return function


def _setting_option(name: str, row: Row) -> Decorator:
    flag, default = "--" + name.replace("_", "-"), DEFAULTS[name]
    details: dict[str, Any] = {
        "help": row.help,
        "default": default,
        "show_default": default is not None,
        "group": GROUPS[row.group],
        "common": row.common,
    }
    if row.kind == "switch":
        return option(f"{flag}/--no-{flag[2:]}", **details)
    if row.metavar is not None:
        details["metavar"] = row.metavar
    types: dict[str, Any] = {
        "text": str,
        "mode": click.Choice(MODES),
        "number": float,
        "whole": int,
        "pair": (float, float),
    }
    return option(flag, type=types[row.kind], **details)
