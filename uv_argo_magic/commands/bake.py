"""The `bake` command: write a Containerfile for an image that includes the environment of a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic._os import atomic_write, paths
from uv_argo_magic.commands import lock
from uv_argo_magic.core.spec import containerfile
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.commands.registry import Request


def handle(request: Request) -> Iterator[str]:
    """The `bake` command.

    Raises:
        SpecError: the lock is not for an image, or the file cannot be written.
        ResolutionError: no versions satisfy the requirements, no index responds, or the run had no lock.
    """
    line, context = request.line, request.context
    target, resolved = lock.find(line, request.history, context)
    image = target.interpreter.image
    if not image:
        raise SpecError(
            f"the {target.spec.backend} backend runs cells without an image",
            hint="Bake for a cluster: add -b argo and --deps, or name a run on a cluster.",
        )
    text = containerfile.write(resolved, image, target.spec.settings.torch_backend)
    if not line.has("to"):
        yield text
        return
    name = line.text("to")
    path = context.folder / paths.expanded(name)
    try:
        is_foreign = path.exists() and not path.read_bytes().startswith(containerfile.FIRST_LINE.encode())
        if not is_foreign:
            atomic_write.write(path, text, mode=0o644)
    except OSError as problem:
        raise SpecError(f"cannot write {name}: {problem.strerror}", hint="Choose another file.") from problem
    if is_foreign:
        raise SpecError(
            f"{name} exists and was not written by uv-argo-magic", hint="Choose another name, or remove the file."
        )
    settings = target.spec.settings
    # The packages of a base are part of the key, and the new image has the same ones.
    options = "--set base=IMAGE" if settings.base else f"--set image=IMAGE --python {resolved.target.python}"
    if settings.separate_install:
        options += " --set install_image=IMAGE"
    yield (
        f"Wrote {name}. Build and push an image from it. Cells with these requirements then use its environment "
        f"with {options}."
    )
