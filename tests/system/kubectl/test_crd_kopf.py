"""An operator written with Kopf, the Python framework for such, against the API server: create, change, delete."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from weft.api.gvr import CONFIGMAPS, CRDS, EVENTS, GVR
from weft.api.status import ApiError
from weft.testing.apiserver import RunningServer, api_server

pytest.importorskip("kopf")
NOTES = GVR("kopf.example.com", "v1", "notes")
MERGE = "application/merge-patch+json"
OPERATOR = """
import kopf
from weft.api.gvr import CONFIGMAPS
from weft.api.status import ApiError
from weft.client.http import HttpClient

CLIENT = []


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, **_):
    import os
    from pathlib import Path

    settings.watching.server_timeout = 60
    CLIENT.append(HttpClient.from_kubeconfig(Path(os.environ["KUBECONFIG"])))


@kopf.on.cleanup()
async def stop(**_):
    await CLIENT.pop().close()


@kopf.on.create("notes.kopf.example.com")
async def created(spec, name, namespace, body, **_):
    if not spec.get("text"):
        raise kopf.PermanentError("a note needs a text")
    metadata = {"name": f"note-{name}"}
    copy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": spec["text"]}}
    kopf.adopt(copy, owner=body)
    made = await CLIENT[0].create(CONFIGMAPS, copy, namespace)
    kopf.info(body, reason="Copied", message="into a config map")
    return {"copy": made["metadata"]["name"]}


@kopf.on.update("notes.kopf.example.com", field="spec.text")
async def changed(new, name, namespace, patch, **_):
    await CLIENT[0].patch(
        CONFIGMAPS, f"note-{name}", {"data": {"text": new}}, "application/merge-patch+json", namespace
    )
    patch.status["changes"] = 1


@kopf.on.delete("notes.kopf.example.com")
async def deleted(name, namespace, **_):
    try:
        await CLIENT[0].delete(CONFIGMAPS, f"note-{name}", namespace)
    except ApiError as error:
        if error.reason != "NotFound":
            raise
"""
PRESERVE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRD: dict[str, Any] = {
    "metadata": {"name": f"notes.{NOTES.group}"},
    "spec": {
        "group": NOTES.group,
        "scope": "Namespaced",
        "names": {"plural": "notes", "kind": "Note"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"text": {"type": "string"}}},
                            "status": PRESERVE,
                        },
                    }
                },
            }
        ],
    },
}


async def soon(server: RunningServer, gvr: GVR, name: str, test: Any) -> dict[str, Any]:
    """The object when it is as wanted; None is given to `test` where there is none."""
    async with asyncio.timeout(20):
        while True:
            try:
                found: Any = await server.client.get(gvr, name, "default")
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
                found = None
            if test(found):
                return dict(found or {})
            await asyncio.sleep(0.05)


async def test_an_operator_does_its_work(tmp_path: Path) -> None:
    async with api_server() as server:
        await server.client.create(CRDS, CRD)
        program = tmp_path / "operator.py"
        program.write_text(OPERATOR)
        log = (tmp_path / "log").open("wb")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kopf", "run", "--standalone", "-n", "default", str(program)),
            stdout=log,
            stderr=log,
            env={**os.environ, "KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path)},
        )
        try:
            await _work(server)
        except (AssertionError, TimeoutError):
            pytest.fail((tmp_path / "log").read_text()[-6000:])
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
            log.close()


async def _work(server: RunningServer) -> None:
    client = server.client
    await client.create(NOTES, {"metadata": {"name": "a"}, "spec": {"text": "one"}}, "default")
    copy = await soon(server, CONFIGMAPS, "note-a", bool)
    assert copy["data"] == {"text": "one"}
    assert copy["metadata"]["ownerReferences"][0]["kind"] == "Note"
    note = await soon(server, NOTES, "a", lambda note: note and (note.get("status") or {}).get("created"))
    assert note["status"]["created"] == {"copy": "note-a"}
    assert note["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    async with asyncio.timeout(20):
        while "Copied" not in [each["reason"] for each in (await client.list(EVENTS, "default")).items]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await client.patch(NOTES, "a", {"spec": {"text": "two"}}, MERGE, "default")
    await soon(server, CONFIGMAPS, "note-a", lambda copy: copy["data"] == {"text": "two"})
    await soon(server, NOTES, "a", lambda note: note["status"].get("changes") == 1)
    await client.delete(NOTES, "a", "default")
    await soon(server, NOTES, "a", lambda note: note is None)
    await soon(server, CONFIGMAPS, "note-a", lambda copy: copy is None)
