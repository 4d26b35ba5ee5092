"""The classic builder: each instruction a step on the image so far, its output as docker prints it.

RUN is a container of the image so far, whose changes become a layer; COPY and ADD write into a mounted root and commit
that. A step that was done before on the same image with the same content is taken from the cache. What fails or is
cancelled leaves no container and no mount.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.container.base import Containers, Credentials, Image, Progress
from weft.container.images.build import context as contexts
from weft.container.images.build import parser
from weft.container.images.build.parser import Instruction
from weft.container.images.build.place import make_directory, mode_of, owner_of, place
from weft.container.images.store import ImageStore
from weft.container.snapshots.pack import pack_layer
from weft.container.spec import ContainerSpec
from weft.core.errors import InvalidError, NotFoundError, UnsupportedError, WeftError
from weft.core.ids import hex_id
from weft.oci.reference import Reference

Output = Callable[[str], None]
_PREDEFINED = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_SHELL = ("/bin/sh", "-c")


class BuildError(WeftError):
    """A step failed; the text is docker's."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What `docker build` asks for."""

    dockerfile: str = "Dockerfile"
    tags: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    no_cache: bool = False
    pull: bool = False
    network: str = "bridge"
    extra_hosts: tuple[str, ...] = ()
    credentials: Credentials | None = None
    pull_output: Callable[[Progress], None] | None = None


@dataclass(slots=True)
class Stage:
    """A build stage as it grows. `config` is Docker's Config of the image to be."""

    name: str
    image: Image | None
    config: dict[str, Any]
    arguments: dict[str, str]
    shell: tuple[str, ...] = _SHELL
    command_set: bool = False


class Builder:
    """Builds one Dockerfile; use once."""

    def __init__(self, images: ImageStore, containers: Containers, options: BuildOptions, output: Output) -> None:
        self._images, self._containers = images, containers
        self._options, self._say = options, output
        self._stages: list[Stage] = []
        self._used: set[str] = set()
        self._escape = "\\"

    async def build(self, root: Path) -> Image:
        """From the context directory; raises BuildError, InvalidError, NotFoundError."""
        file = root / os.path.normpath("/" + self._options.dockerfile).lstrip("/")
        if not file.is_file() or root.resolve() not in file.resolve().parents:
            raise InvalidError(f"Cannot locate specified Dockerfile: {self._options.dockerfile}")
        try:
            dockerfile = parser.parse(file.read_text())
        except UnicodeDecodeError as error:
            raise InvalidError(f"dockerfile parse error on line 1: not UTF-8 text: {error.reason}") from error
        self._escape = dockerfile.escape
        ignore = root / ".dockerignore"
        if ignore.is_file():
            contexts.Ignore(ignore.read_text(errors="replace")).apply(root, (self._options.dockerfile, ".dockerignore"))
        instructions = self._wanted(dockerfile.instructions)
        before: dict[str, str] = {}
        for number, instruction in enumerate(instructions, 1):
            self._say(f"Step {number}/{len(instructions)} : {instruction.original}\n")
            await self._step(instruction, root, before)
        stage = self._stages[-1]
        if self._options.labels:
            stage.config["Labels"] = {**(stage.config.get("Labels") or {}), **self._options.labels}
            text = "LABEL " + " ".join(f"{key}={value}" for key, value in sorted(self._options.labels.items()))
            await self._commit_config(stage, text)
        if stage.image is None:
            raise InvalidError("No image was generated. Is your Dockerfile empty?")
        unused = sorted(set(self._options.arguments) - self._used - self._proxies())
        if unused:
            self._say(f"[Warning] One or more build-args {unused} were not consumed\n".replace("'", ""))
        self._say(f"Successfully built {_short(stage.image.id)}\n")
        for tag in self._options.tags:
            self._images.tag(stage.image.id, tag)
            self._say(f"Successfully tagged {Reference.parse(tag).familiar}\n")
        return self._images.resolve(stage.image.id)

    @staticmethod
    def _proxies() -> set[str]:
        return {*_PREDEFINED, *(name.lower() for name in _PREDEFINED)}

    def _wanted(self, instructions: Sequence[Instruction]) -> list[Instruction]:
        """Up to and with the target stage."""
        if not self._options.target:
            return list(instructions)
        kept: list[Instruction] = []
        inside = False
        index = -1
        for instruction in instructions:
            if instruction.keyword == "FROM":
                if inside:
                    break
                index += 1
                words = instruction.text.split()
                name = words[2].lower() if len(words) == 3 else ""
                inside = self._options.target.lower() in (name, str(index))
            kept.append(instruction)
        if not inside:
            raise InvalidError(f"failed to reach build target {self._options.target} in Dockerfile")
        return kept

    async def _step(self, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        if not self._stages and instruction.keyword == "ARG":
            self._declare(instruction, before, {})
            return
        if instruction.keyword == "FROM":
            await self._from(instruction, root, before)
            return
        stage = self._stages[-1]
        method = getattr(self, f"_do_{instruction.keyword.lower()}")
        try:
            await method(stage, instruction, root, before)
        except (parser.ParseError, BuildError):
            raise
        except InvalidError as error:
            raise InvalidError(f"dockerfile parse error on line {instruction.line}: {error}") from error

    # Stages

    async def _from(self, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        words = parser.expand(instruction.text, before, self._escape).split()
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise parser.ParseError(instruction.line, "FROM requires either one or three arguments")
        name = words[2].lower() if len(words) == 3 else ""
        previous = self._stage(words[0])
        if words[0] == "scratch":
            self._stages.append(Stage(name, None, {"Env": [_PATH], "WorkingDir": "/"}, {}))
            return
        if previous is not None and previous.image is not None:
            image = previous.image
        else:
            image = await self._base(words[0])
        config = json.loads(json.dumps(image.config.get("config") or {}))
        stage = Stage(name, image, config, {})
        if shell := config.get("Shell"):
            stage.shell = tuple(shell)
        self._stages.append(stage)
        self._say(f" ---> {_short(image.id)}\n")
        triggers = config.pop("OnBuild", None) or []
        if triggers:
            self._say(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}\n")
        for text in triggers:
            await self._step(parser.parse(f"FROM scratch\n{text}").instructions[1], root, before)

    async def _base(self, name: str) -> Image:
        if not self._options.pull:
            with suppress(NotFoundError):
                return self._images.resolve(name)
        return await self._images.pull(name, credentials=self._options.credentials, progress=self._options.pull_output)

    def _stage(self, name: str) -> Stage | None:
        for index, stage in enumerate(self._stages):
            if name.lower() == stage.name or name == str(index):
                return stage
        return None

    # Variables

    def _declare(self, instruction: Instruction, known: dict[str, str], environment: Mapping[str, str]) -> None:
        for word in parser.split(instruction.text):
            name, equals, default = word.partition("=")
            if not name:
                raise parser.ParseError(instruction.line, "ARG names can not be blank")
            if name in self._options.arguments:
                self._used.add(name)
                known[name] = self._options.arguments[name]
            elif equals:
                known[name] = parser.expand(default, {**known, **environment}, self._escape)

    def _variables(self, stage: Stage) -> dict[str, str]:
        return {**stage.arguments, **_environment(stage)}

    def _expand(self, stage: Stage, text: str) -> str:
        return parser.expand(text, self._variables(stage), self._escape)

    def _build_environment(self, stage: Stage) -> dict[str, str]:
        """ARGs (and proxies given as such) that RUN sees beside the image's environment."""
        proxies = {name: value for name, value in self._options.arguments.items() if name in self._proxies()}
        return {**proxies, **stage.arguments}

    # Steps

    def _key(self, stage: Stage, text: str, content: str = "") -> str:
        parent = stage.image.id if stage.image is not None else "scratch"
        config = json.dumps(stage.config, sort_keys=True)
        return hashlib.sha256("\0".join([parent, text, content, config]).encode()).hexdigest()

    def _cached(self, stage: Stage, key: str) -> bool:
        found = None if self._options.no_cache else self._images.database.built(key)
        if found is None:
            return False
        stage.image = self._images.resolve(found)
        self._say(" ---> Using cache\n")
        self._say(f" ---> {_short(stage.image.id)}\n")
        return True

    def _finish(self, stage: Stage, key: str, image: Image) -> None:
        self._images.database.remember_build(key, image.id)
        stage.image = image
        self._say(f" ---> {_short(image.id)}\n")

    async def _commit_config(self, stage: Stage, text: str) -> None:
        """A step that changes only the config."""
        key = self._key(stage, text)
        if not self._cached(stage, key):
            created = f"/bin/sh -c #(nop)  {text}"
            self._finish(stage, key, self._images.make(stage.image, stage.config, None, created_by=created))

    async def _do_run(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        if stage.image is None:
            raise InvalidError("RUN needs an image with a shell; the stage is from scratch")
        if "mount" in instruction.flags:
            raise UnsupportedError("the --mount option requires BuildKit, which Weft's builder is not")
        command = self._command(stage, instruction)
        given = self._build_environment(stage)
        visible = [f"{key}={value}" for key, value in sorted(stage.arguments.items())]
        shown = " ".join([f"|{len(visible)}", *visible, *command]) if visible else " ".join(command)
        key = self._key(stage, f"RUN {shown}")
        if self._cached(stage, key):
            return
        network = instruction.flags.get("network") or self._options.network
        spec = ContainerSpec(
            image=stage.image.id,
            entrypoint=(),
            command=command,
            env=tuple(f"{key}={value}" for key, value in {**given, **_environment(stage)}.items()),
            working_dir=stage.config.get("WorkingDir") or None,
            user=stage.config.get("User") or None,
            network="bridge" if network == "default" else network,
            extra_hosts=self._options.extra_hosts,
        )
        container = await self._containers.create(spec)
        try:
            self._say(f" ---> Running in {container.id[:12]}\n")
            stream = await self._containers.attach(container.id)
            try:
                await self._containers.start(container.id)
                while (piece := await stream.read()) is not None:
                    self._say(piece[1].decode(errors="replace"))
            finally:
                await stream.close()
            code = await self._containers.wait(container.id)
            if code != 0:
                text = " ".join(command) if instruction.words is None else " ".join(instruction.words)
                raise BuildError(f"The command '{text}' returned a non-zero code: {code}", code)
            packed = await asyncio.to_thread(
                pack_layer, str(self._images.root(container.id).upper), self._images.content
            )
            image = self._images.make(stage.image, stage.config, packed, created_by=shown)
        finally:
            self._say(f" ---> Removed intermediate container {container.id[:12]}\n")
            await asyncio.shield(self._containers.remove(container.id, force=True, volumes=True))
        self._finish(stage, key, image)

    def _command(self, stage: Stage, instruction: Instruction) -> tuple[str, ...]:
        if instruction.words is not None:
            return instruction.words
        if instruction.heredocs:
            document = instruction.heredocs[0]
            if instruction.text.strip() == f"<<{document.name}" or instruction.text.strip().startswith("<<"):
                return (*stage.shell, document.content)
            ending = "".join(f"{each.content}{each.name}\n" for each in instruction.heredocs)
            return (*stage.shell, f"{instruction.text}\n{ending}")
        return (*stage.shell, instruction.text)

    async def _do_copy(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        origin = instruction.flags.get("from")
        if origin is None:
            await self._copy(stage, instruction, root, extract=False)
            return
        source = self._stage(self._expand(stage, origin))
        image = source.image if source is not None else await self._base(origin)
        if image is None:
            raise InvalidError(f"invalid from flag value {origin}: nothing is in that stage")
        mount_id = f"from-{hex_id()[:24]}"
        try:
            mounted = await self._images.prepare(mount_id, image)
            await self._copy(stage, instruction, mounted.path, extract=False, salt=image.id)
        finally:
            await asyncio.shield(self._images.release(mount_id, delete=True))

    async def _do_add(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        await self._copy(stage, instruction, root, extract=True)

    async def _copy(self, stage: Stage, instruction: Instruction, root: Path, *, extract: bool, salt: str = "") -> None:
        words = list(instruction.words) if instruction.words is not None else parser.split(instruction.text)
        words = [self._expand(stage, word) for word in words]
        if len(words) < 2:
            raise InvalidError(f"{instruction.keyword} requires at least two arguments, but only one was provided")
        *names, target = words
        if any(name.startswith(("http://", "https://", "git@")) for name in names):
            raise UnsupportedError(f"{instruction.keyword} of a URL is not supported by this builder")
        documents = {f"<<{each.name}": each for each in instruction.heredocs}
        documents |= {f"<<-{each.name}": each for each in instruction.heredocs}
        sources: list[Path] = []
        written: list[tuple[str, str]] = []
        for name in names:
            if document := documents.get(name.replace('"', "").replace("'", "")):
                text = self._expand(stage, document.content) if document.expand else document.content
                written.append((document.name, text))
            else:
                sources += await asyncio.to_thread(contexts.find, root, name)
        many = len(sources) + len(written) > 1
        if many and not target.endswith("/"):
            raise InvalidError(
                f"When using {instruction.keyword} with more than one source file, the destination must be a directory "
                "and end with a /"
            )
        content = await asyncio.to_thread(contexts.digest, sources)
        shown = f"{instruction.keyword} {' '.join([*(f'--{k}={v}' for k, v in instruction.flags.items()), *words])}"
        key = self._key(stage, shown, content + salt + json.dumps(written))
        if self._cached(stage, key):
            return
        base = stage.image or await self._empty(stage)
        mount_id = f"copy-{hex_id()[:24]}"
        try:
            mounted = await self._images.prepare(mount_id, base)
            owner = owner_of(self._expand(stage, instruction.flags.get("chown", "")), str(mounted.path))
            mode = mode_of(self._expand(stage, instruction.flags.get("chmod", "")))
            full = target if target.startswith("/") else f"{stage.config.get('WorkingDir') or '/'}/{target}"
            if target in (".", "./") or target.endswith("/."):
                full += "/"
            await asyncio.to_thread(
                place, str(mounted.path), sources, written, full, owner=owner, mode=mode, extract=extract
            )
            packed = await asyncio.to_thread(pack_layer, str(mounted.upper), self._images.content)
            created = f"/bin/sh -c #(nop) {instruction.keyword} {content[:12]} in {target} "
            image = self._images.make(stage.image, stage.config, packed, created_by=created)
        finally:
            await asyncio.shield(self._images.release(mount_id, delete=True))
        self._finish(stage, key, image)

    async def _empty(self, stage: Stage) -> Image:
        return self._images.make(None, stage.config, None, created_by="FROM scratch")

    async def _do_env(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        given = parser.pairs(self._expand(stage, instruction.text), "ENV")
        environment = _environment(stage) | dict(given)
        stage.config["Env"] = [f"{key}={value}" for key, value in environment.items()]
        await self._commit_config(stage, "ENV " + " ".join(f"{key}={value}" for key, value in given))

    async def _do_label(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        given = parser.pairs(self._expand(stage, instruction.text), "LABEL")
        stage.config["Labels"] = {**(stage.config.get("Labels") or {}), **dict(given)}
        await self._commit_config(stage, "LABEL " + " ".join(f"{key}={value}" for key, value in given))

    async def _do_maintainer(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        await self._commit_config(stage, f"MAINTAINER {instruction.text}")

    async def _do_arg(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        for word in parser.split(instruction.text):
            name = word.partition("=")[0]
            if "=" not in word and name in before and name not in self._options.arguments:
                stage.arguments[name] = before[name]
        self._declare(instruction, stage.arguments, _environment(stage))
        await self._commit_config(stage, f"ARG {instruction.text}")

    async def _do_workdir(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        path = self._expand(stage, instruction.text).strip('"')
        joined = os.path.normpath(path if path.startswith("/") else f"{stage.config.get('WorkingDir') or '/'}/{path}")
        stage.config["WorkingDir"] = joined
        text = f"WORKDIR {joined}"
        key = self._key(stage, text)
        if self._cached(stage, key):
            return
        base = stage.image or await self._empty(stage)
        mount_id = f"work-{hex_id()[:24]}"
        try:
            mounted = await self._images.prepare(mount_id, base)
            await asyncio.to_thread(make_directory, str(mounted.path), joined)
            upper = mounted.upper
            packed = (
                await asyncio.to_thread(pack_layer, str(upper), self._images.content) if any(upper.iterdir()) else None
            )
            image = self._images.make(stage.image, stage.config, packed, created_by=f"/bin/sh -c #(nop) {text}")
        finally:
            await asyncio.shield(self._images.release(mount_id, delete=True))
        self._finish(stage, key, image)

    async def _do_user(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        stage.config["User"] = self._expand(stage, instruction.text)
        await self._commit_config(stage, f"USER {stage.config['User']}")

    async def _do_expose(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        ports = dict(stage.config.get("ExposedPorts") or {})
        for word in parser.split(self._expand(stage, instruction.text)):
            number, _, protocol = word.partition("/")
            first, dash, last = number.partition("-")
            if (
                not first.isdigit()
                or (dash and not last.isdigit())
                or protocol.lower() not in ("", "tcp", "udp", "sctp")
            ):
                raise InvalidError(f"invalid containerPort: {word}")
            for port in range(int(first), int(last or first) + 1):
                ports[f"{port}/{protocol.lower() or 'tcp'}"] = {}
        stage.config["ExposedPorts"] = ports
        await self._commit_config(stage, f"EXPOSE {instruction.text}")

    async def _do_volume(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        words = instruction.words if instruction.words is not None else parser.split(instruction.text)
        paths: dict[str, Any] = {self._expand(stage, word): {} for word in words}
        if "" in paths:
            raise InvalidError("VOLUME specified can not be an empty string")
        stage.config["Volumes"] = {**(stage.config.get("Volumes") or {}), **paths}
        await self._commit_config(stage, f"VOLUME {list(paths)}")

    def _exec_or_shell(self, stage: Stage, instruction: Instruction) -> list[str]:
        if instruction.words is not None:
            return list(instruction.words)
        return [*stage.shell, instruction.text]

    async def _do_cmd(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        stage.config["Cmd"] = self._exec_or_shell(stage, instruction)
        stage.command_set = True
        await self._commit_config(stage, f"CMD {json.dumps(stage.config['Cmd'])}")

    async def _do_entrypoint(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        stage.config["Entrypoint"] = self._exec_or_shell(stage, instruction)
        if not stage.command_set:
            stage.config["Cmd"] = None  # the base image's command was for its own entrypoint
        await self._commit_config(stage, f"ENTRYPOINT {json.dumps(stage.config['Entrypoint'])}")

    async def _do_shell(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        stage.shell = instruction.words or _SHELL
        stage.config["Shell"] = list(stage.shell)
        await self._commit_config(stage, f"SHELL {json.dumps(list(stage.shell))}")

    async def _do_stopsignal(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        stage.config["StopSignal"] = self._expand(stage, instruction.text)
        await self._commit_config(stage, f"STOPSIGNAL {stage.config['StopSignal']}")

    async def _do_onbuild(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        stage.config["OnBuild"] = [*(stage.config.get("OnBuild") or []), instruction.text]
        await self._commit_config(stage, f"ONBUILD {instruction.text}")

    async def _do_healthcheck(self, stage: Stage, instruction: Instruction, root: Path, before: dict[str, str]) -> None:
        kind, _, rest = instruction.text.partition(" ")
        if kind.upper() == "NONE":
            stage.config["Healthcheck"] = {"Test": ["NONE"]}
        elif kind.upper() == "CMD" and rest.strip():
            words = parser.parse(f"FROM scratch\nCMD {rest}").instructions[1].words
            check: dict[str, Any] = {"Test": ["CMD", *words] if words is not None else ["CMD-SHELL", rest.strip()]}
            for flag, name in (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod")):
                if flag in instruction.flags:
                    check[name] = _nanoseconds(instruction.flags[flag])
            if "retries" in instruction.flags:
                check["Retries"] = int(instruction.flags["retries"])
            stage.config["Healthcheck"] = check
        else:
            raise InvalidError(f"Unknown type {kind!r} in HEALTHCHECK (try CMD)")
        await self._commit_config(stage, f"HEALTHCHECK {instruction.text}")


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _environment(stage: Stage) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in stage.config.get("Env") or [] if "=" in entry)


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def _nanoseconds(text: str) -> int:
    import re

    units = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidError(f"invalid duration {text!r}")
    return int(sum(float(number) * units[unit] for number, unit in parts) * 1e9)
