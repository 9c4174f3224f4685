"""Commands that make, check, list and restore backups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.cells import size
from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_message, print_table
from pumpwatch.commands.table import Column
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, UsageError

if TYPE_CHECKING:
    from pumpwatch.backup.manifest import Manifest
    from pumpwatch.config import Config

identity_option = click.option("--identity", metavar="FILE", default="",
                               help="The age identity that opens an encrypted backup; by default backup.identity_file.")


@click.group(invoke_without_command=True)
@click.option("--to", "target", metavar="PLACE", default="",
              help="Back up to this folder or s3://BUCKET/PREFIX instead of the configured places.")
@click.option("--dry-run", is_flag=True, help="Print the files of a backup, and write nothing.")
@json_option
@config_option
@click.pass_context
def backup(context: click.Context, target: str, dry_run: bool, as_json: bool, config: Config) -> int:
    """Back up everything stored; check and list backups.

    A backup holds journal, ledgers, archives, reports and the config, and QuestDB, other sinks and Redis if the config says so.

    It is written to backup.folder, then sent to S3 if backup.s3.url is set. It shows the state of one moment, even while a
    collector runs. Files of earlier backups are not written again. Exit code 1 if something could not be backed up.

    \b
    Example: pumpwatch backup
             pumpwatch backup --to /mnt/disk/backups
             pumpwatch backup --to s3://my-bucket/pumpwatch
    """
    if context.invoked_subcommand:
        return EXIT_OK
    from pumpwatch.backup.plan import plan_of

    plan = plan_of(config, target)
    if dry_run:
        from pumpwatch.backup.make import would_write

        return _print_dry_run(list(would_write(plan)), as_json, plan.folder)
    from pumpwatch.backup.child import backup_in_child
    from pumpwatch.ops.disk_watch import refuse_where_full

    refuse_where_full(Path(plan.folder), config.disk)
    made = backup_in_child(plan)
    if as_json:
        import msgspec

        print_json([msgspec.to_builtins(made)])
    print_message(f"{made.name}: {made.files:,} files, {made.bytes:,} bytes, {made.trades:,} trades in {made.where}; "
                  f"{made.new_bytes:,} bytes written, {made.reused:,} files unchanged, {made.took_s:.1f} s")
    if made.s3 and not made.error:
        print_message(f"{made.uploaded_bytes:,} bytes sent to {made.s3}")
    for problem in made.problems:
        print_message(f"not backed up: {problem}")
    if made.error:
        print_message(f"pumpwatch: the backup is complete in {made.where}, but not in {made.s3}: {made.error}")
    return made.exit_code


def _print_dry_run(rows: list[dict[str, Any]], as_json: bool, folder: str) -> int:
    if as_json:
        print_json(rows)
    else:
        print_table((Column("file"), Column("size", right=True), Column("")),
                    ([row["name"], "" if row["bytes"] is None else size(row["bytes"]), "unchanged" if row["unchanged"] else ""]
                     for row in rows))
    known = [row for row in rows if row["bytes"] is not None]
    fresh = sum(row["bytes"] for row in known if not row["unchanged"])
    print_message(f"{len(known):,} files, {sum(row['bytes'] for row in known):,} bytes, of which {fresh:,} would be read, "
                  f"to {folder}; nothing was written")
    return EXIT_OK


@backup.command(name="list")
@click.argument("where", required=False, default="")
@json_option
@config_option
def list_backups(where: str, as_json: bool, config: Config) -> int:
    """List the backups of a place with their sizes and trades.

    WHERE is a folder or s3://BUCKET/PREFIX; by default backup.folder. Exit code 1 if a manifest is damaged.

    \b
    Example: pumpwatch backup list
             pumpwatch backup list s3://my-bucket/pumpwatch
    """
    from pumpwatch.backup.manifest import decode
    from pumpwatch.backup.places import place_of
    from pumpwatch.errors import StorageError

    shelf, only = place_of(config, where)
    rows, damaged = [], 0
    for name in [only] if only else shelf.manifests():
        try:
            rows.append(_row(decode(shelf.read(name), name)))
        except (StorageError, UsageError) as error:
            damaged += 1
            rows.append({"name": name, "error": error.message})
    if as_json:
        print_json(rows)
    elif rows:
        print_table((Column("backup"), Column("files", right=True), Column("size", right=True), Column("trades", right=True),
                     Column("", wraps=True)),
                    ([row["name"], "", "", "", row["error"]] if "error" in row else
                     [row["name"], f"{row['files']:,}", size(row["bytes"]), f"{row['trades']:,}", row["note"]] for row in rows))
    print_message(f"{len(rows):,} backup{'' if len(rows) == 1 else 's'} in {shelf.where}")
    return EXIT_FOUND if damaged else EXIT_OK


def _row(manifest: Manifest) -> dict[str, Any]:
    first, last = manifest.span()
    notes = (["encrypted"] if manifest.encrypted else []) + [f"not backed up: {problem}" for problem in manifest.problems]
    return {"name": manifest.name, "made_at_ns": manifest.made_at_ns, "version": manifest.version, "files": len(manifest.files),
            "bytes": manifest.bytes, "stored_bytes": sum(manifest.objects.values()), "trades": manifest.trades,
            "first_timestamp": first, "last_timestamp": last, "encrypted": manifest.encrypted, "problems": manifest.problems,
            "note": "; ".join(notes)}


@backup.command()
@click.argument("where", required=False, default="")
@click.option("--all", "every", is_flag=True, help="Check every backup of the place, not only the newest.")
@identity_option
@json_option
@config_option
def verify(where: str, every: bool, identity: str, as_json: bool, config: Config) -> int:
    """Check a backup: checksums, SQLite integrity and the manifest's counts.

    WHERE is a folder, s3://BUCKET/PREFIX, or one manifest in them; by default backup.folder. Without an identity, only the sizes
    of an encrypted backup are compared. Exit code 1 if a file is wrong.

    \b
    Example: pumpwatch backup verify
             pumpwatch backup verify s3://my-bucket/pumpwatch --all
    """
    from pumpwatch.backup.checking import check_backup
    from pumpwatch.backup.keys import identities_of
    from pumpwatch.backup.places import manifests_of, place_of

    shelf, name = place_of(config, where)
    manifests, identities = manifests_of(shelf, name, every=every), identities_of(identity or config.backup.identity_file)
    sizes, wrong = shelf.sizes(), 0
    for manifest in manifests:
        faults = [{"backup": manifest.name, "name": fault.name, "problem": fault.problem}
                  for fault in check_backup(shelf, manifest, identities, sizes)]
        wrong += len(faults)
        if as_json:
            print_json(faults or [{"backup": manifest.name, "name": "", "problem": ""}])
        for fault in () if as_json else faults:
            print_message(f"{fault['name']}: {fault['problem']}")
        how = "sizes only: no identity was given" if manifest.encrypted and not identities else "sums, SQLite and counts"
        print_message(f"{manifest.name}: {len(manifest.files):,} files, {manifest.bytes:,} bytes, {manifest.trades:,} trades; "
                      f"{f'{len(faults):,} are wrong' if faults else f'all match the manifest ({how})'}")
    return EXIT_FOUND if wrong else EXIT_OK


@click.command()
@click.argument("source", metavar="FROM")
@click.option("--to", "target", metavar="FOLDER", default="", help="Restore into this empty or new folder; by default store.dir.")
@click.option("--beside", is_flag=True, help="Restore into a new folder next to it; the folder itself may then be in use.")
@click.option("--sink", "sinks", metavar="NAME", multiple=True, help="Restore this sink of the config, whose server must be"
              " empty, instead of a folder. May be repeated.")
@identity_option
@json_option
@config_option
def restore(source: str, target: str, beside: bool, sinks: tuple[str, ...], identity: str, as_json: bool,
            config: Config) -> int:
    """Restore a backup into an empty folder or a new one.

    The whole backup is checked first; then all of it is restored, or nothing.

    FROM is a folder or s3://BUCKET/PREFIX, for the newest backup there, or one manifest in them. A folder that holds data, or
    into which a collector records, is left alone.

    \b
    Example: pumpwatch restore /mnt/disk/backups --to /srv/restored
             pumpwatch restore s3://my-bucket/backup-20261128T033000Z.json
             pumpwatch restore /mnt/disk/backups --sink postgres
    """
    from pumpwatch.backup.keys import identities_of
    from pumpwatch.backup.places import manifests_of, place_of
    from pumpwatch.backup.restore import free_name
    from pumpwatch.backup.restore import restore as run
    from pumpwatch.backup.sinks import sinks_in

    if sinks:
        if target or beside:
            raise UsageError("--sink excludes --to and --beside", "restore the folder by a second command, without --sink")
        return _restore_sinks(source, sinks, identity, as_json, config)
    folder = Path(target).expanduser().absolute() if target else Path(config.store.dir)
    if beside:
        folder = free_name(folder)
    shelf, name = place_of(config, source)
    manifest = manifests_of(shelf, name)[0]
    run(shelf, manifest, folder, identities_of(identity or config.backup.identity_file))
    if as_json:
        print_json([{**_row(manifest), "folder": str(folder)}])
    print_message(f"{manifest.name}: {len(manifest.files):,} files, {manifest.bytes:,} bytes, {manifest.trades:,} trades "
                  f"restored into {folder}")
    for sink in sinks_in(manifest):
        print_message(f"not restored: the sink {sink}; into an empty server: pumpwatch restore {source} --sink {sink}")
    for problem in manifest.problems:
        print_message(f"not in this backup: {problem}")
    return EXIT_OK


def _restore_sinks(source: str, names: tuple[str, ...], identity: str, as_json: bool, config: Config) -> int:
    from pumpwatch.backup.keys import identities_of
    from pumpwatch.backup.places import manifests_of, place_of
    from pumpwatch.backup.sinks import restore_sink, sink_of

    shelf, name = place_of(config, source)
    manifest = manifests_of(shelf, name)[0]
    identities = identities_of(identity or config.backup.identity_file)
    for sink in names:
        rows = restore_sink(shelf, manifest, sink, sink_of(config, sink), identities)
        if as_json:
            print_json([{"backup": manifest.name, "sink": sink, "rows": rows}])
        print_message(f"{manifest.name}: sink {sink} restored, {len(rows):,} tables with {sum(rows.values()):,} rows, "
                      "as many as in the backup")
    return EXIT_OK
