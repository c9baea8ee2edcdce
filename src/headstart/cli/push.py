"""``headstart push``."""

from __future__ import annotations

from pathlib import Path

import click

from headstart.cli.options import RUN
from headstart.errors import SettingsError

__all__ = ["push"]


@click.command()
@RUN
@click.argument("target", metavar="hf:OWNER/NAME[@BRANCH]|s3://BUCKET/FOLDER")
@click.option(
    "--public",
    is_flag=True,
    help="Make a repository that everyone can see, or push to one. By default, a new one is private.",
)
@click.option(
    "--report/--no-report",
    default=True,
    help="Whether the report is uploaded, with the images that it shows.  [default: report]",
)
@click.option("--dry-run", is_flag=True, help="List what would be uploaded, with sizes, then exit.")
def push(run: str, target: str, public: bool, report: bool, dry_run: bool) -> None:
    """Upload RUN to the Hugging Face Hub, or to object storage.

    To the hub go its classifier, model card, evaluation and report, without paths of this machine. To an address such
    as s3://bucket/runs/dogs goes the whole folder as it is. headstart predict takes the classifier from either.
    """
    from headstart.artifacts.hub import hub_run
    from headstart.artifacts.stored_run import files_of, is_address, put_run

    if is_address(target):
        if public or not report:
            raise SettingsError(f"{target}: --public and --no-report are for the hub; an address gets the whole run")
        for name, size in files_of(Path(run)).items():
            click.echo(f"{size / 1e6:10,.2f} MB  {name}", err=not dry_run)
        if not dry_run:
            put_run(Path(run), target)
            click.echo(target)
        return
    wanted = hub_run(target)
    if wanted is None:
        raise SettingsError(f"{target}: the place to push to is named hf:OWNER/NAME, or s3://BUCKET/FOLDER")
    import tempfile

    from headstart.workflow import push as pushing

    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        upload = pushing.prepare_upload(Path(run), wanted, Path(folder), report=report)
        click.echo("\n".join(upload.lines()), err=not dry_run)
        if dry_run:
            return
        click.echo(pushing.push(upload, wanted, public=public))
