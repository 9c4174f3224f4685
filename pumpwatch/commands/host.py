"""Commands that install PumpWatch on this machine as a service, and remove it: install, uninstall."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.commands.output import print_commands, print_lines, print_message, shown
from pumpwatch.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from pumpwatch.host.machine import TargetMachine

root_option = click.option("--root", metavar="DIR", default="/", help="Change the system below this folder, such as a container "
                                                                      "image, instead of the running one.")
dry_option = click.option("--dry-run", is_flag=True, help="Print the steps, and change nothing.")


@click.command()
@dry_option
@root_option
@click.option("--user", metavar="NAME", default="pumpwatch", show_default=True,
              help="Run the service as this system user, created if missing.")
@click.option("--no-start", is_flag=True, help="Start at the next boot, not now; leave a running service as it is.")
@click.option("--program", metavar="FILE", default="", hidden=True, help="Install this zipapp instead of the one that runs.")
@click.option("--python", metavar="FILE", default="", hidden=True, help="Run it with this Python instead of the one that runs.")
def install(dry_run: bool, root: str, user: str, no_start: bool, program: str, python: str) -> int:
    """Install and start this zipapp as a service of systemd.

    Creates a system user, its folders, a config and a hardened unit, starts the service and waits until it records. Run again,
    it updates what has changed: a new zipapp takes over from the running one without missing a trade. An existing config is
    never overwritten; pumpwatch.yaml.sample next to it is always of this version. If a step fails, those before it are undone.

    \b
    Example: pumpwatch install --dry-run
    """
    from pumpwatch.host import plan, procedure
    from pumpwatch.host.machine import UNIT, TargetMachine

    wish = plan.Wish(_zipapp(program, dry_run), str(Path(python or sys.executable).resolve()), user, not no_start)
    wish.check()
    machine = TargetMachine(Path(root).resolve())
    machine.check(starts=wish.start and not dry_run)
    if not dry_run:
        _need_root("install")
    steps = plan.installation(machine, wish)
    if dry_run:
        procedure.show(steps, _print)
        return EXIT_OK
    number = procedure.carry_out(steps, _print)
    if not number:
        print_message("nothing to do: this version is installed" + (", and runs" if machine.serves() else ""))
    elif machine.serves():
        print_message("PumpWatch runs as a service")
    else:
        print_message("PumpWatch is installed, and starts at the next boot" if machine.root == Path("/") else
                      f"PumpWatch is installed in {machine.root}")
    print_commands(
        f"  its log:     sudo journalctl --follow --unit {UNIT}",
        f"  its state:   sudo -u {user} pumpwatch status -c {plan.CONFIG}",
        f"  its config:  sudoedit {plan.CONFIG}, then: sudo systemctl reload {UNIT}",
        "  remove it:   sudo pumpwatch uninstall")
    return EXIT_OK


@click.command()
@dry_option
@root_option
@click.option("--purge", is_flag=True, help="Remove config, data, logs and user as well; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge.")
def uninstall(dry_run: bool, root: str, purge: bool, yes: bool) -> int:
    """Stop and remove the service; keep config and data.

    Removes the unit, the program and its unpacked files. Config, data, logs and their system user stay, and their places are
    printed; --purge removes them too. If a step fails, those before it are undone.

    \b
    Example: pumpwatch uninstall --dry-run
    """
    from pumpwatch.host import plan, procedure
    from pumpwatch.host.machine import TargetMachine

    machine = TargetMachine(Path(root).resolve())
    machine.check(starts=False)
    if not dry_run:
        _need_root("uninstall")
    user, elsewhere = plan.installed_user(machine), _elsewhere(machine)
    kept = plan.kept(machine) if not dry_run else []
    steps = plan.removal(machine) + (plan.purge(machine, user) if purge else [])
    if dry_run:
        procedure.show(steps, _print)
        return EXIT_OK
    if purge and not yes and kept:
        click.confirm(f"Remove permanently {', '.join(map(shown, kept))}?", abort=True, err=True)
    if not procedure.carry_out(steps, _print):
        print_message("nothing to do: PumpWatch is not installed")
    left = [*([] if purge else kept), *elsewhere]
    if left:
        print_message("kept:", *(f"  {path}" for path in left))
    if not purge and machine.number_of("passwd", user) is not None:
        print_message(f"kept: the user {user}, who owns them",
                      "`pumpwatch uninstall --purge` removes config, data and user as well")
    return EXIT_OK


def _print(line: str) -> None:
    print_lines([shown(line)])


def _need_root(command: str) -> None:
    from pumpwatch.host.machine import is_root

    if not is_root():
        raise UsageError(f"{command} must run as root", "run it with sudo; --dry-run shows the steps to any user")


def _zipapp(given: str, dry_run: bool) -> Path:
    """Return the zipapp to install: the given one or the running program. Raises UsageError if that is not a zipapp."""
    path = Path(given or sys.argv[0]).absolute()
    if zipfile.is_zipfile(path) or (given and dry_run):  # packaging/install shows the steps before it builds the file
        return path
    raise UsageError(f"{path} is not a zipapp, and only a zipapp can be installed" if given else
                     "only a zipapp can install itself, and this program is not a zipapp",
                     "from a clone: sudo packaging/install, which builds it first")


def _elsewhere(machine: TargetMachine) -> list[str]:
    """Return the data folders of the installed config that are outside the service's folders."""
    from pumpwatch.config import load
    from pumpwatch.errors import ConfigError
    from pumpwatch.host.plan import CONFIG, CONFIG_DIR, STATE_DIR

    try:
        config = load(machine.inside(CONFIG), {})
    except (ConfigError, OSError):  # an unreadable config does not name a folder
        return []
    folders = (config.store.dir, config.listing.archive_dir)
    return sorted({folder for folder in folders if not Path(folder).is_relative_to(STATE_DIR)
                   and not Path(folder).is_relative_to(machine.inside(CONFIG_DIR)) and Path(folder).is_dir()})
