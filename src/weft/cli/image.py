"""`weft image`: base images made on this machine."""

import json
import urllib.parse
from pathlib import Path

import click

from weft.cli.health import UnixConnection
from weft.core.errors import WeftError
from weft.core.settings import Settings


@click.group()
def image() -> None:
    """Make base images without a registry."""


@image.command()
@click.argument("name", type=click.Choice(["busybox", "debian"]))
@click.option("--refresh", is_flag=True, help="Make it anew, even if it is there.")
@click.pass_context
def bootstrap(ctx: click.Context, name: str, refresh: bool) -> None:
    """Make image NAME from Debian's packages: busybox (seconds) or debian (a minute, then cached)."""
    from weft.cli.main import need_root, settings_of
    from weft.container.images.bootstrap import IMAGES, make

    settings = settings_of(ctx)
    if not refresh and (present := _present(settings, IMAGES[name].references[0])):
        click.echo(f"{IMAGES[name].references[0]} is there already: {present[:19]}")
        return
    need_root("make an image")
    made = make(name, settings.paths.lib / "cache", click.echo, refresh=refresh)
    identifier = _import(settings, made.archive, made.references[0], made.changes)
    for reference in made.references[1:]:
        repository, tag = reference.rsplit(":", 1)
        _call(settings, "POST", f"/images/{identifier}/tag?" + urllib.parse.urlencode({"repo": repository, "tag": tag}))
    click.echo(f"{', '.join(made.references)}: {identifier[:19]}")


def _call(settings: Settings, method: str, path: str, body: Path | None = None) -> str:
    connection = UnixConnection(settings.paths.docker_socket, timeout=600)
    try:
        if body is None:
            connection.request(method, path)
        else:
            with body.open("rb") as file:
                headers = {"Content-Length": str(body.stat().st_size), "Content-Type": "application/x-tar"}
                connection.request(method, path, file, headers)
        response = connection.getresponse()
        text = response.read().decode()
    except OSError as error:
        raise WeftError(f"cannot reach Weft at {settings.paths.docker_socket}: {error.strerror or error}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise WeftError(json.loads(text).get("message", text))
    return text


def _present(settings: Settings, reference: str) -> str:
    """The id of an image that is there, or an empty text."""
    wanted = urllib.parse.quote(json.dumps({"reference": [reference]}))
    found = json.loads(_call(settings, "GET", f"/images/json?filters={wanted}"))
    return str(found[0]["Id"]) if found else ""


def _import(settings: Settings, archive: Path, reference: str, changes: tuple[str, ...]) -> str:
    repository, tag = reference.rsplit(":", 1)
    query = [("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", change) for change in changes)]
    answer = _call(settings, "POST", "/images/create?" + urllib.parse.urlencode(query), archive)
    return str(json.loads(answer.splitlines()[-1])["status"])
