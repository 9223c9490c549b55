"""`shedder completion`: teach a shell to complete verbs, options and the names of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shedder.cli.options import verb

if TYPE_CHECKING:
    from shedder.cli.run import Run

VARIABLE = "_SHEDDER_COMPLETE"

_EXAMPLES = (
    'eval "$(shedder completion bash)"       # in ~/.bashrc',
    'eval "$(shedder completion zsh)"        # in ~/.zshrc',
    "shedder completion fish | source        # in ~/.config/fish/config.fish",
)


@verb("completion", examples=_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(run: Run, *, shell: str) -> int:
    """Print the script that teaches a shell to complete `shedder`."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    program = click.get_current_context().find_root().command
    script = kind(program, {}, "shedder", VARIABLE).source()
    if run.is_json:
        run.emit("completion/1", {"shell": shell, "script": script})
    else:
        click.echo(script)
    return 0
