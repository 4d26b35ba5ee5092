"""The classic builder: each instruction a step on the image so far, its output as docker prints it.

RUN is a container of the image so far, whose changes become a layer; COPY and ADD write into a mounted root and commit
that. A step that was done before on the same image with the same content is taken from the cache. What fails or is
cancelled leaves no container and no mount.
"""

import asyncio
import codecs
import copy
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.container.base import Containers, Credentials, Image, Progress, RootFilesystem
from weft.container.images.build import configuration, parser
from weft.container.images.build import context as contexts
from weft.container.images.build.configuration import Scope
from weft.container.images.build.parser import Instruction, ParseError
from weft.container.images.build.place import make_directory, mode_of, owner_of, place
from weft.container.images.build.words import WordError
from weft.container.images.store import ImageStore
from weft.container.images.threads import in_thread
from weft.container.snapshots.pack import pack_layer
from weft.container.spec import ContainerSpec
from weft.core.errors import InvalidError, NotFoundError, UnsupportedError, WeftError
from weft.core.ids import hex_id
from weft.oci.reference import Reference

Output = Callable[[str], None]
_PREDEFINED = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_PROXIES = frozenset((*_PREDEFINED, *(name.lower() for name in _PREDEFINED)))
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


_RED, _PLAIN = "\x1b[91m", "\x1b[0m"  # what a step prints to stderr, as dockerd shows it


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
    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    pull_output: Callable[[Progress], None] | None = None
    built: Callable[[str], None] | None = None
    # Images that the cache may come from; none named: all. Where none of them is here, there is no cache.
    cache_from: tuple[str, ...] = ()


@dataclass(slots=True)
class Stage:
    """A build stage as it grows. `config` is Docker's Config of the image to be."""

    name: str
    image: Image | None
    config: dict[str, Any]
    arguments: dict[str, str] = field(default_factory=dict)
    command_set: bool = False


class Builder:
    """Builds one Dockerfile; use once."""

    def __init__(self, images: ImageStore, containers: Containers, options: BuildOptions, output: Output) -> None:
        self._images, self._containers = images, containers
        self._options, self._say = options, output
        self._stages: list[Stage] = []
        self._used: set[str] = set()
        self._escape = "\\"
        self._before: dict[str, str] = {}  # the ARGs ahead of the first FROM

    async def build(self, root: Path) -> Image:
        """From the context directory; raises BuildError, InvalidError, NotFoundError."""
        dockerfile = self._read(root)
        self._escape = dockerfile.escape
        instructions = self._wanted(dockerfile.instructions)
        for number, instruction in enumerate(instructions, 1):
            self._say(f"Step {number}/{len(instructions)} : {instruction.original}\n")
            await self._step(instruction, root)
        stage = self._stages[-1]
        if self._options.labels:
            stage.config["Labels"] = {**(stage.config.get("Labels") or {}), **self._options.labels}
            text = "LABEL " + " ".join(f"{key}={value}" for key, value in sorted(self._options.labels.items()))
            self._commit_config(stage, text)
        if stage.image is None:
            raise InvalidError("No image was generated. Is your Dockerfile empty?")
        if unused := sorted(set(self._options.arguments) - self._used - _PROXIES):
            self._say(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        if self._options.built is not None:
            self._options.built(stage.image.id)
        self._say(f"Successfully built {_short(stage.image.id)}\n")
        for tag in self._options.tags:
            self._images.tag(stage.image.id, tag)
            self._say(f"Successfully tagged {Reference.parse(tag).familiar}\n")
        return self._images.resolve(stage.image.id)

    def _read(self, root: Path) -> parser.Dockerfile:
        """The Dockerfile; also takes out of the context what .dockerignore names."""
        file = root / os.path.normpath("/" + self._options.dockerfile).lstrip("/")
        if not file.is_file() or root.resolve() not in file.resolve().parents:
            raise InvalidError(f"Cannot locate specified Dockerfile: {self._options.dockerfile}")
        try:
            dockerfile = parser.parse(file.read_text())
        except UnicodeDecodeError as error:
            raise ParseError(1, f"not UTF-8 text: {error.reason}") from error
        ignore = root / ".dockerignore"
        if ignore.is_file() and not ignore.is_symlink():
            contexts.Ignore(ignore.read_text(errors="replace")).apply(root)  # the Dockerfile has been read
        return dockerfile

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

    async def _step(self, instruction: Instruction, root: Path) -> None:
        keyword = instruction.keyword
        try:
            if keyword == "FROM":
                await self._from(instruction, root)
            elif not self._stages:
                self._declare(instruction, self._before, {})
            elif keyword in configuration.KEYWORDS:
                self._configure(self._stages[-1], instruction)
            else:
                step = {
                    "RUN": self._run, "COPY": self._copy, "ADD": self._add, "WORKDIR": self._workdir, "ARG": self._arg
                }[keyword]  # fmt: skip
                await step(self._stages[-1], instruction, root)
        except WordError as error:
            raise ParseError(instruction.line, str(error)) from error

    # Stages

    async def _from(self, instruction: Instruction, root: Path) -> None:
        words = Scope(self._before, self._escape).expand(instruction.text).split()
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise ParseError(instruction.line, "FROM requires either one or three arguments")
        name = words[2].lower() if len(words) == 3 else ""
        previous = self._stage(words[0])
        if words[0] == "scratch" or (previous is not None and previous.image is None):
            config = {"Env": [_PATH]} if previous is None else copy.deepcopy(previous.config)
            self._stages.append(Stage(name, None, config))
            self._say(" --->\n")
            return
        image = previous.image if previous is not None and previous.image is not None else await self._base(words[0])
        config = copy.deepcopy(dict(image.config.get("config") or {}))
        triggers = config.pop("OnBuild", None) or []
        self._stages.append(Stage(name, image, config))
        self._say(f" ---> {_short(image.id)}\n")
        if triggers:
            self._say(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}\n")
        for text in triggers:
            for trigger in parser.parse(f"FROM scratch\n{text}").instructions[1:]:
                await self._step(trigger, root)

    async def _base(self, name: str) -> Image:
        if not self._options.pull:
            with suppress(NotFoundError):
                return self._images.resolve(name)
        given = self._options.credentials.get(Reference.parse(name).domain)
        return await self._images.pull(name, credentials=given, progress=self._options.pull_output)

    def _stage(self, name: str) -> Stage | None:
        for index, stage in enumerate(self._stages):
            if name.lower() == stage.name or name == str(index):
                return stage
        return None

    # Variables

    def _declare(self, instruction: Instruction, known: dict[str, str], others: Mapping[str, str]) -> None:
        scope = Scope(self._before, self._escape)
        for word in scope.split(instruction.text):
            name, equals, default = word.partition("=")
            name = scope.expand(name)
            if not name:
                raise WordError("ARG names can not be blank")
            if name in self._options.arguments:
                self._used.add(name)
                known[name] = self._options.arguments[name]
            elif equals:
                known[name] = Scope({**known, **others}, self._escape).expand(default)
            elif name in self._before:
                known[name] = self._before[name]

    def _scope(self, stage: Stage) -> Scope:
        return Scope({**stage.arguments, **configuration.environment(stage.config)}, self._escape)

    # Steps

    def _key(self, stage: Stage, text: str, content: str = "") -> str:
        parent = stage.image.id if stage.image is not None else "scratch"
        config = json.dumps(stage.config, sort_keys=True)
        return hashlib.sha256("\0".join([parent, text, content, config]).encode()).hexdigest()

    def _may_use_cache(self) -> bool:
        for name in self._options.cache_from:
            try:
                self._images.resolve(name)
            except NotFoundError:
                continue
            return True
        return not self._options.cache_from

    def _cached(self, stage: Stage, key: str) -> bool:
        found = None if self._options.no_cache or not self._may_use_cache() else self._images.database.built(key)
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

    def _commit_config(self, stage: Stage, text: str) -> None:
        """A step that changes only the config."""
        key = self._key(stage, text)
        if not self._cached(stage, key):
            created = f"/bin/sh -c #(nop)  {text}"
            self._finish(stage, key, self._images.make(stage.image, stage.config, None, created_by=created))

    def _configure(self, stage: Stage, instruction: Instruction) -> None:
        text = configuration.apply(stage.config, instruction, self._scope(stage))
        if instruction.keyword == "CMD":
            stage.command_set = True
        elif instruction.keyword == "ENTRYPOINT" and not stage.command_set:
            stage.config["Cmd"] = None  # the base image's command was for its own entrypoint
        self._commit_config(stage, text)

    async def _arg(self, stage: Stage, instruction: Instruction, root: Path) -> None:
        self._declare(instruction, stage.arguments, configuration.environment(stage.config))
        self._commit_config(stage, f"ARG {instruction.text}")

    async def _run(self, stage: Stage, instruction: Instruction, root: Path) -> None:
        if stage.image is None:
            raise InvalidError("cannot run a command: the stage is from scratch and has no files yet")
        if "mount" in instruction.flags:
            raise UnsupportedError("the --mount option requires BuildKit, which Weft's builder is not")
        command = _command(stage.config, instruction)
        visible = [f"{key}={value}" for key, value in sorted(stage.arguments.items())]
        shown = " ".join([f"|{len(visible)}", *visible, *command]) if visible else " ".join(command)
        key = self._key(stage, f"RUN {shown}")
        if self._cached(stage, key):
            return
        network = instruction.flags.get("network") or self._options.network
        # Proxies are for the step alone: neither the image nor the cache knows them.
        proxies = {name: value for name, value in self._options.arguments.items() if name in _PROXIES}
        environment = {**proxies, **stage.arguments, **configuration.environment(stage.config)}
        spec = ContainerSpec(
            image=stage.image.id,
            entrypoint=(),
            command=command,
            env=tuple(f"{name}={value}" for name, value in environment.items()),
            working_dir=stage.config.get("WorkingDir") or None,
            user=stage.config.get("User") or None,
            network="bridge" if network == "default" else network,
            extra_hosts=self._options.extra_hosts,
        )
        container = await self._containers.create(spec)
        try:
            self._say(f" ---> Running in {container.id[:12]}\n")
            code = await self._output_of(container.id)
            if code != 0:
                raise BuildError(f"The command '{' '.join(command)}' returned a non-zero code: {code}", code)
            with self._images.working():
                upper = str(self._images.root(container.id).upper)
                packed = await in_thread(pack_layer, upper, self._images.content)
                image = self._images.make(stage.image, stage.config, packed, created_by=shown)
        finally:
            self._say(f" ---> Removed intermediate container {container.id[:12]}\n")
            await asyncio.shield(self._containers.remove(container.id, force=True, volumes=True))
        self._finish(stage, key, image)

    async def _output_of(self, container_id: str) -> int:
        """Starts the container, shows what it prints, and gives its exit code."""
        decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        stream = await self._containers.attach(container_id)
        try:
            await self._containers.start(container_id)
            while (piece := await stream.read()) is not None:
                if text := decoders[piece[0]].decode(piece[1]):
                    self._say(text if piece[0] == "stdout" else f"{_RED}{text}{_PLAIN}")
        finally:
            await stream.close()
        return await self._containers.wait(container_id)

    @asynccontextmanager
    async def _mounted(self, image: Image | None) -> AsyncIterator[RootFilesystem]:
        """A root for the builder's own hands, gone afterwards; nothing collects what is made of it meanwhile."""
        id = f"build-{hex_id()[:24]}"
        with self._images.working():
            try:
                yield await self._images.prepare_scratch(id, image)
            finally:
                await asyncio.shield(self._images.release(id, delete=True))

    async def _add(self, stage: Stage, instruction: Instruction, root: Path) -> None:
        await self._place(stage, instruction, root)

    async def _copy(self, stage: Stage, instruction: Instruction, root: Path) -> None:
        origin = self._scope(stage).expand(instruction.flags.get("from", ""))
        if not origin:
            await self._place(stage, instruction, root)
            return
        source = self._stage(origin)
        image = source.image if source is not None else await self._base(origin)
        if image is None:
            raise InvalidError(f"invalid from flag value {origin}: there are no files in that stage")
        async with self._mounted(image) as mounted:
            await self._place(stage, instruction, mounted.path, salt=image.id)

    async def _place(self, stage: Stage, instruction: Instruction, root: Path, *, salt: str = "") -> None:
        """COPY and ADD: `root` is where the sources are; `salt` tells images from the context in the cache."""
        keyword, scope = instruction.keyword, self._scope(stage)
        words = list(instruction.words) if instruction.words is not None else scope.split(instruction.text)
        *names, target = [scope.expand(word) for word in words]
        if not names:
            raise WordError(
                f"{keyword} requires at least two arguments, but only one was provided. "
                "Destination could not be determined"
            )
        if any(name.startswith(("http://", "https://", "git@")) for name in names):
            raise UnsupportedError(f"{keyword} failed: this builder fetches nothing from URLs")
        documents = {each.mark: each for each in instruction.heredocs}
        sources: list[contexts.Found] = []
        written: list[tuple[str, str]] = []
        for name in names:
            if document := documents.get(name):
                written.append((document.name, scope.expand(document.content) if document.expand else document.content))
            else:
                sources += await in_thread(contexts.find, root, name, keyword)
        if len(sources) + len(written) > 1 and not target.endswith("/"):
            raise InvalidError(
                f"When using {keyword} with more than one source file, the destination must be a directory "
                "and end with a /"
            )
        flags = {name: scope.expand(value) for name, value in instruction.flags.items()}
        content = await in_thread(contexts.digest, sources)
        shown = " ".join([keyword, *(f"--{name}={value}" for name, value in flags.items()), *names, target])
        key = self._key(stage, shown, content + salt + json.dumps(written))
        if self._cached(stage, key):
            return
        full = target if target.startswith("/") else f"{stage.config.get('WorkingDir') or '/'}/{target}"
        if target == "." or target.endswith("/."):
            full += "/"
        async with self._mounted(stage.image) as mounted:
            owner = owner_of(flags.get("chown", ""), str(mounted.path))
            mode = mode_of(flags.get("chmod", ""))
            await in_thread(
                place, str(mounted.path), sources, written, full, owner=owner, mode=mode, extract=keyword == "ADD"
            )
            packed = await in_thread(pack_layer, str(mounted.upper), self._images.content)
            created = f"/bin/sh -c #(nop) {keyword} {content[:12]} in {target} "
            image = self._images.make(stage.image, stage.config, packed, created_by=created)
        self._finish(stage, key, image)

    async def _workdir(self, stage: Stage, instruction: Instruction, root: Path) -> None:
        path = self._scope(stage).expand(instruction.text)
        joined = os.path.normpath(
            f"/{path}" if path.startswith("/") else f"{stage.config.get('WorkingDir') or '/'}/{path}"
        )
        stage.config["WorkingDir"] = joined.replace("//", "/")
        text = f"WORKDIR {stage.config['WorkingDir']}"
        key = self._key(stage, text)
        if self._cached(stage, key):
            return
        async with self._mounted(stage.image) as mounted:
            await in_thread(make_directory, str(mounted.path), joined)
            packed = None
            if any(mounted.upper.iterdir()):
                packed = await in_thread(pack_layer, str(mounted.upper), self._images.content)
            created = f"/bin/sh -c #(nop) {text}"
            image = self._images.make(stage.image, stage.config, packed, created_by=created)
        self._finish(stage, key, image)


def _command(config: Mapping[str, Any], instruction: Instruction) -> tuple[str, ...]:
    """What RUN runs; a here-document is the shell's own, or the script itself where nothing else is given."""
    if not instruction.heredocs:
        return tuple(configuration.command(config, instruction))
    shell = config.get("Shell") or configuration.SHELL
    if instruction.text == instruction.heredocs[0].mark_as_written:
        return (*shell, instruction.heredocs[0].content)
    documents = "".join(f"{each.content}{each.name}\n" for each in instruction.heredocs)
    return (*shell, f"{instruction.text}\n{documents}")


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
