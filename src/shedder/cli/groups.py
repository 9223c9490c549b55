"""How do verbs stand together under one name, such as `shedder flag degrade`?"""

from __future__ import annotations

from collections.abc import Sequence

import click

from shedder.cli.options import HELP_SETTINGS, Verb, connection_options, write_examples


class VerbGroup(click.Group):
    """Verbs under one name.

    Attributes:
        examples: Command lines that its help shows.
    """

    examples: Sequence[str] = ()

    def list_commands(self, _context: click.Context) -> list[str]:
        """The verbs in the order in which they are needed."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def verb_group(
    name: str, *verbs: Verb | VerbGroup, text: str, examples: Sequence[str], short: str = ""
) -> VerbGroup:
    """`verbs` under one name; `short` is its line in the list, `text` its help."""
    group = VerbGroup(
        name, help=text, short_help=short, context_settings=HELP_SETTINGS,
        params=connection_options(),
    )  # fmt: skip
    group.examples = examples
    for each in verbs:
        group.add_command(each)
    return group
