"""The `weft` command: its groups and verbs. Each verb's work is imported when it is called."""

import sys
from pathlib import Path
from typing import Any

import click

from weft import __version__
from weft.core.errors import WeftError
from weft.core.settings import Settings, is_root

_STORE_HELP = (
    "Where the Kubernetes API keeps its state: etcd://HOST:PORT[,HOST:PORT...], with "
    "?ca=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE&prefix=/weft as needed."
)
_LAZY_GROUPS = {"image": ("weft.cli.image", "image"), "lab": ("weft.cli.lab_commands", "lab")}


class WeftGroup(click.Group):
    """Loads the sub-groups only when they are asked for, and turns WeftError into one line and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LAZY_GROUPS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _LAZY_GROUPS:
            import importlib

            module, attribute = _LAZY_GROUPS[cmd_name]
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WeftError as error:
            click.echo(f"weft: {error}", err=True)
            ctx.exit(1)


@click.group(cls=WeftGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/"),
    envvar="WEFT_ROOT",
    help="Directory that holds var/lib/weft, run/weft and etc/weft.  [default: /]",
)
@click.version_option(__version__, prog_name="weft")
@click.pass_context
def main(ctx: click.Context, root: Path) -> None:
    """A whole cloud on one machine: containers, and the elastic network woven through them."""
    ctx.obj = root.resolve()


def settings_of(ctx: click.Context) -> Settings:
    """The settings of the instance that the command is about; a clear error where there is none."""
    root: Path = ctx.obj
    try:
        return Settings.load(root)
    except FileNotFoundError:
        raise WeftError(f"there is no instance in {root}: start one with `weft up`") from None


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that become settings; raises InvalidError before a bad one is saved."""
    from weft.store.opening import check_address

    given = {key: value for key, value in options.items() if value is not None}
    check_address(given.get("store", ""))
    return given


def need_root(verb: str) -> None:
    if not is_root():
        raise WeftError(f"cannot {verb}: it needs root, for namespaces, mounts and links")


@main.command()
@click.option("--detach", "-d", is_flag=True, help="Return as soon as everything answers.")
@click.option("--api-port", type=click.IntRange(0, 65535), help="Port of the Kubernetes API; 0 chooses one.  [6443]")
@click.option("--registry-port", type=click.IntRange(0, 65535), help="Port of the registry; 0 chooses one.  [5000]")
@click.option("--kubelet-port", type=click.IntRange(0, 65535), help="Port of the node agent; 0 chooses one.  [10250]")
@click.option("--pod-subnet", help="IPv4 subnet of pods and containers, in CIDR notation.")
@click.option("--service-subnet", help="IPv4 subnet of services, in CIDR notation.")
@click.option("--node-port-min", type=click.IntRange(1, 65535), help="First node port.  [30000]")
@click.option("--node-port-max", type=click.IntRange(1, 65535), help="Last node port.  [32767]")
@click.option("--node-name", help="Name of this node.  [weft]")
@click.option("--runtime", type=click.Choice(["auto", "crun", "runc"]), help="OCI runtime.  [auto]")
@click.option("--store", metavar="URL", help=f"{_STORE_HELP}  [a file of its own]")
@click.pass_context
def up(ctx: click.Context, /, detach: bool, **options: Any) -> None:
    """Start Weft: Docker API, Kubernetes API, registry, network."""
    need_root("start Weft")
    from weft.cli import lifecycle

    given = _given(options)
    lifecycle.up(ctx.obj, detach=detach, overrides=given)


@main.command()
@click.option("--api-address", help="Address of the Kubernetes API.  [127.0.0.1]")
@click.option("--api-port", type=click.IntRange(0, 65535), help="Port of the Kubernetes API; 0 chooses one.  [6443]")
@click.option("--service-subnet", help="IPv4 subnet of services, the same for all servers of a store.")
@click.option("--store", metavar="URL", help=f"{_STORE_HELP}  [a file of its own]")
@click.pass_context
def server(ctx: click.Context, /, **options: Any) -> None:
    """Run only the Kubernetes API, controllers and scheduler, in the foreground; several may share one etcd.

    They must have the same certificate authority: copy var/lib/weft/pki/ca.crt and ca.key of the first to the others.
    """
    from weft.cli import process
    from weft.cli.server import serve

    Settings.load_or_create(ctx.obj, **_given(options))
    ctx.exit(process.main("server", serve, ["server", str(ctx.obj)]))


@main.command()
@click.option(
    "--kubeconfig",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of the cluster; its current context is used.",
)
@click.option("--node-name", help="Name of this node, as the cluster has it.  [weft]")
@click.pass_context
def network(ctx: click.Context, /, kubeconfig: Path, **options: Any) -> None:
    """Run only labs and BGP, for any Kubernetes, in the foreground; `weft lab` with the same --root then means it.

    It brings the definitions of net.weft.dev to the cluster. Of several of these on one cluster one works at a time.
    """
    need_root("run labs")
    from weft.cli import process
    from weft.cli.network import serve

    Settings.load_or_create(ctx.obj, **_given(options))
    ctx.exit(process.main("network", serve(kubeconfig), ["network", str(ctx.obj)]))


@main.command()
@click.option("--time", "-t", "seconds", type=float, default=10.0, show_default=True, help="Grace for containers.")
@click.option("--purge", is_flag=True, help="Also remove images, volumes, resources and configuration.")
@click.pass_context
def down(ctx: click.Context, seconds: float, purge: bool) -> None:
    """Stop Weft and every container, pod and lab; leave nothing running."""
    need_root("stop Weft")
    from weft.cli import lifecycle

    lifecycle.down(ctx.obj, seconds=seconds, purge=purge)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def backup(ctx: click.Context, file: Path) -> None:
    """Save all resources as they are at one moment, while Weft goes on, in FILE: JSON lines with a checksum."""
    from weft.cli import backup as verbs

    click.echo(verbs.backup(settings_of(ctx), file))


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--store", metavar="URL", help=f"{_STORE_HELP}  [a file of its own]")
@click.pass_context
def restore(ctx: click.Context, /, file: Path, **options: Any) -> None:
    """Bring all resources back from FILE, made by `weft backup`, into a new root or an empty etcd."""
    from weft.cli import backup as verbs

    click.echo(verbs.restore(ctx.obj, file, _given(options)))


@main.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Tell where the instance listens and what its processes cost."""
    from weft.cli import health

    health.status(settings_of(ctx))


@main.command()
@click.pass_context
def env(ctx: click.Context) -> None:
    """Print the variables for docker and kubectl: eval "$(weft env)"."""
    settings = settings_of(ctx)
    click.echo(f"export DOCKER_HOST=unix://{settings.paths.docker_socket}")
    click.echo(f"export KUBECONFIG={settings.paths.kubeconfig}")


if __name__ == "__main__":
    sys.exit(main())
