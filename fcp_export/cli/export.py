"""``fcp-export``: make the ONNX file of a network from its checkpoint."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from fcp_export.cli.extra import need_extra
from fcp_runtime.cli.common import command_line
from fcp_runtime.errors import OutputError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--student", "key", metavar="KEY", help="Which network; see --list.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A .safetensors file, or a .pt file in Cellpose's format; the shipped one.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for KEY.onnx, KEY.safetensors and manifest.json; the current one.",
)
@click.option(
    "--check",
    type=click.Path(path_type=Path),
    multiple=True,
    help="An image on which graph and checkpoint are compared too; may be repeated.",
)
@click.option(
    "--bioimageio",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the shipped network KEY as a package of bioimage.io, and end.",
)
@click.option("--list", "listing", is_flag=True, help="List the networks and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.version_option(version("fastercellpose"), prog_name="fcp-export")
@command_line("fcp-export")
def main(
    key: str | None,
    checkpoint: Path | None,
    output: Path,
    check: tuple[Path, ...],
    bioimageio: Path | None,
    listing: bool,
    as_json: bool,
) -> None:
    """Make the ONNX file of network KEY, compare it with torch, enter it in manifest.json."""
    if bioimageio is not None:
        if key is None:
            raise click.UsageError("give a network with --student")
        from fcp_export.bioimageio import write_package

        click.echo(write_package(key, bioimageio))
        return
    need_extra("fcp-export", "torch")
    from fcp_export.architectures.networks import SPECS

    if listing:
        _print_list(as_json=as_json)
        return
    need_extra("fcp-export", "onnx", "safetensors")
    if key is None:
        raise click.UsageError("give a network with --student, or --list")
    if key not in SPECS:
        raise click.BadParameter(f"{key}: choose from {', '.join(SPECS)}", param_hint="--student")
    from fcp_export.export import export_model, shipped_checkpoint

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot make this folder ({error.strerror})") from error
    entry = export_model(key, checkpoint or shipped_checkpoint(key), output, check)
    if as_json:
        click.echo(json.dumps(entry, indent=2, sort_keys=True))
        return
    click.echo(
        f"{output / entry['file']}: {entry['bytes'] / 1e6:.2f} MB, at most "
        f"{entry['difference']:.1g} from torch"
    )


def _print_list(*, as_json: bool) -> None:
    from fcp_export.architectures.complexity import count_macs
    from fcp_export.architectures.networks import SPECS

    rows: list[dict[str, Any]] = [
        {
            "key": key,
            "title": spec.title,
            "parameters": spec.parameters,
            "multiple": spec.multiple,
            "macs_1024": count_macs(key),
        }
        for key, spec in SPECS.items()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(f"{'key':22}{'title':34}{'parameters':>12}{'MACs at 1024x1024':>20}{'sides':>7}")
    for row in rows:
        macs = f"{row['macs_1024'] / 1e9:.2f} G"
        click.echo(
            f"{row['key']:22}{row['title']:34}{row['parameters']:>12,}{macs:>20}{row['multiple']:>7}"
        )
