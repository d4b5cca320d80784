"""The program in a pod, as a stock Argo Workflows runs it: a kubeconfig or a pod's own rights are all that it takes.

Rules:
- The very Program that `local` runs, in a script template; nothing of ours is installed in the cluster.
- hera and kubernetes are imported when a run uses them.
- What is left behind goes by the workflow's own TTL, so that its log can still be read.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.base import Check
from uv_argo_magic.backends.kubernetes import images
from uv_argo_magic.core.protocol.events import NodePhase
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import BackendError, BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.backends.argo.cluster_features import Server
    from uv_argo_magic.backends.base import Item, RemoteRun
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.uv.interpreters import Interpreter


@dataclass(frozen=True, kw_only=True)
class _Submitted:
    """A workflow of this process: where it runs, the nonce of its records, and whether its end was asked for."""

    client: ArgoClient
    nonce: str
    stopping: threading.Event = field(default_factory=threading.Event)


class ArgoBackend:
    """Runs programs as Argo Workflows in the cluster and namespace that the settings name."""

    capabilities: frozenset[str] = frozenset({"resources"})

    def __init__(self, connect: Callable[[Settings], ArgoClient] | None = None) -> None:
        self._connect = connect or _connect
        self._runs: dict[str, _Submitted] = {}
        self._here = threading.local()
        self._executors: dict[str, str] = {}  # place -> which containers Argo adds to a pod, once seen

    @property
    def place(self) -> str:
        """Context and namespace of the workflow that this thread submitted last."""
        return getattr(self._here, "place", "a cluster")

    def target(self, spec: RunSpec) -> Interpreter:
        """The Python in the image that the settings choose, or that their template has, which is read for it.

        Raises:
            SpecError: there is no image for such a Python, or no such template.
            BackendUnavailable: a template is named, and the API does not answer.
        """
        if spec.settings.template:
            with _installed():
                from uv_argo_magic.backends.argo import template  # noqa: PLC0415 - not before it is used

                client = self._connect(spec.settings)
                return template.target(template.look(client, spec.settings.template), spec)
        return images.target(spec.python, spec.settings)

    def image(self, spec: RunSpec) -> str:
        """The image that the settings choose.

        Raises:
            SpecError: there is no image for such a Python.
        """
        return spec.settings.image or images.target(spec.python, spec.settings).image

    def describe(self, program: Program, spec: RunSpec) -> str:
        """The Workflow as YAML, and what the API says of it when it is asked to create it without doing so.

        Raises:
            SpecError: the program is too large.
            BackendUnavailable: hera or kubernetes are not installed.
        """
        with _installed():
            from uv_argo_magic.backends.argo import yaml_output  # noqa: PLC0415 - not before it is used

            client, server, answer = None, None, ""
            try:
                client = self._connect(spec.settings)
                server = self._look(client, spec.settings)
            except BackendError as problem:
                client, answer = None, f"The API was not asked: {_words(problem)}"
            made, large = self._made(program, spec, "dry-run", server=server)
            if client is not None:
                answer = _asked(client, made)
            if large:
                answer = f"Its program, {len(program.source):,} bytes, lies in a ConfigMap beside it.\n# {answer}"
        return f"{yaml_output.shortened(yaml_output.yaml(made)).rstrip()}\n# {answer}"

    def manifest(self, program: Program, spec: RunSpec) -> str:
        """The Workflow as YAML, after the ConfigMap that holds its program where that is large.

        Raises:
            SpecError: the program is too large.
            BackendUnavailable: hera is not installed.
        """
        with _installed():
            from uv_argo_magic.backends.argo import workflow, yaml_output  # noqa: PLC0415 - imports Hera

            run_id = f"file-{program.nonce}"
            made, large = self._made(program, spec, run_id)
            return yaml_output.yaml(*([workflow.companion(program, spec, run_id=run_id)] if large else []), made)

    def _look(self, client: ArgoClient, settings: Settings) -> Server | None:
        """What the cluster's Argo is like; None where a template of it decides on the pod."""
        from uv_argo_magic.backends.argo import cluster_features  # noqa: PLC0415 - not before a run

        return None if settings.template else cluster_features.look(client, settings, self._executors)

    def _made(
        self, program: Program, spec: RunSpec, run_id: str, notebook: str = "", server: Server | None = None
    ) -> tuple[dict[str, Any], bool]:
        """The Workflow that a submission sends, and whether its program travels in a ConfigMap."""
        from uv_argo_magic.backends.argo import cluster_features, template, workflow  # noqa: PLC0415 - imports Hera

        if name := spec.settings.template:
            offered = template.look(self._connect(spec.settings), name)
            made = template.build(offered, program, spec, run_id=run_id, notebook=notebook)
            return made, template.large(program)
        image = images.target(spec.python, spec.settings).image
        patch = cluster_features.read(spec.settings.patch) if spec.settings.patch else None
        made = workflow.build(program, spec, run_id=run_id, image=image, notebook=notebook, server=server, patch=patch)
        return made, workflow.large(program, spec.settings)

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> str:
        """Create the workflow; the name that the API gave it.

        Raises:
            SpecError: the program is too large.
            BackendUnavailable: no cluster is configured, it does not answer, or hera or kubernetes are not installed.
            SubmitRejected: it refused the workflow.
        """
        with _installed():
            from uv_argo_magic.backends.argo import workflow  # noqa: PLC0415 - imports Hera

            client = self._connect(spec.settings)
            server = self._look(client, spec.settings)
            made, large = self._made(program, spec, run_id, notebook, server)
        if server and not server.pending_timeout:
            sys.stderr.write(
                "uv-argo: pending_timeout is not sent: this cluster's Argo does not know it (4.1 does); "
                f"the workflow ends by its deadline, {spec.settings.deadline:g} seconds after its start\n"
            )
        created = client.create(made)["metadata"]
        name = str(created["name"])
        if large:
            try:
                client.create_config_map(
                    workflow.companion(program, spec, run_id=run_id, workflow=name, uid=str(created["uid"]))
                )
            except BackendError as problem:
                # Its pod would wait for the program until the deadline.
                with contextlib.suppress(BackendError):
                    client.shutdown(name, "Terminate")
                raise SubmitRejected(
                    f"a program of {len(program.source):,} bytes needs a ConfigMap: {problem}",
                    hint=f"Push less (--push). {problem.hint}".strip(),
                ) from problem
        self._runs[name] = _Submitted(client=client, nonce=program.nonce)
        self._here.place = client.location
        return name

    def find(self, name: str, settings: Settings) -> RemoteRun | None:
        """A workflow of this package in the namespace of the settings, by its name or its run's id.

        Raises:
            BackendUnavailable: no cluster is configured, it does not answer, or kubernetes is not installed.
            SpecError: the workflow is not of this package, or of a newer one.
        """
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", name):
            return None
        with _installed():
            from uv_argo_magic.backends.argo import run_metadata  # noqa: PLC0415 - imports Hera

            client = self._connect(settings)
        found = run_metadata.find(client, name)
        if found is not None:
            self._runs.setdefault(found.name, _Submitted(client=client, nonce=found.nonce))
        return found

    def watch(self, name: str, *, follow: bool = True) -> Iterator[Item]:
        """Log text and phases; ends some seconds after the exit record, with Argo's own phase."""
        from uv_argo_magic.backends.argo import follow as follows  # noqa: PLC0415 - not before a run

        run = self._runs.get(name)
        if run is None:
            yield NodePhase(phase="Error", message=f"no workflow of this kernel is named {name}", t=time.time())
            return
        if follow:
            yield from follows.Follower(run.client, name, run.nonce, stopping=run.stopping).items()
        else:
            yield from follows.so_far(run.client, name)

    def stop(self, name: str) -> None:
        """Have Argo stop the workflow; its controller takes about five seconds to pass it on to the cell.

        Raises:
            BackendError: it could not be asked for.
        """
        if run := self._runs.get(name):
            run.stopping.set()
            run.client.shutdown(name, "Stop")

    def by_hand(self, name: str) -> tuple[str, ...]:
        """The lines for kubectl and for Argo's own command."""
        run = self._runs.get(name)
        return run.client.manual_stop_commands(name) if run else ()

    def checks(self, spec: RunSpec) -> Iterator[Check]:
        """The configuration, the API, Argo, and every right that runs need."""
        try:
            from uv_argo_magic.backends.argo import doctor  # noqa: PLC0415 - imports Hera
            from uv_argo_magic.backends.kubernetes import pod  # noqa: PLC0415 - imports Hera

            pod.hera()
            yield from doctor.before(functools.partial(self._connect, spec.settings), spec.settings)
        except ImportError as problem:
            hint = 'Install what it needs: pip install "uv-argo-magic[argo]"'
            yield Check(name="packages", outcome="failed", said=str(problem), hint=hint)

    def seen(self, name: str) -> Iterator[Check]:
        """Argo's version, and whether a lost pod could be made again."""
        from uv_argo_magic.backends.argo import doctor  # noqa: PLC0415 - imports Hera

        if run := self._runs.get(name):
            yield from doctor.meanwhile(run.client, name)

    def delete(self, name: str) -> None:
        """Nothing: the workflow, its pod and its log stay for `ttl` seconds, then Argo deletes them."""

    def warm(self) -> None:
        """There is nothing to make ready."""


def _asked(client: ArgoClient, made: dict[str, Any]) -> str:
    """What the API says of the Workflow when it is asked to create it without doing so."""
    try:
        client.create(made, dry_run=True)
    except SubmitRejected as problem:
        return f"The API refuses this Workflow: {_words(problem)}"
    except BackendError as problem:
        return f"The API was not asked: {_words(problem)}"
    return f"{client.location}: the API would accept this Workflow (a dry run: nothing was created)."


def _words(problem: BackendError) -> str:
    return f"{str(problem).rstrip('.')}. {problem.hint}".strip()


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    """What is missing of this backend's packages becomes an error that says how to get it."""
    try:
        yield
    except ImportError as problem:
        raise BackendUnavailable(
            f"the argo backend cannot be used: {problem}",
            hint='install what it needs: pip install "uv-argo-magic[argo]"',
        ) from problem


def _connect(settings: Settings) -> ArgoClient:
    """One connection for equal settings, for as long as this process lives."""
    from uv_argo_magic.backends.argo import server  # noqa: PLC0415 - not before a run
    from uv_argo_magic.backends.kubernetes import client as kubernetes_client  # noqa: PLC0415 - the same

    named = replace(
        Settings(), kubeconfig=settings.kubeconfig, context=settings.context, namespace=settings.namespace,
        server=server.server_address(settings),
    )  # fmt: skip
    with kubernetes_client.LOADING:
        return _connected(named)


@functools.lru_cache(maxsize=8)
def _connected(settings: Settings) -> ArgoClient:
    from uv_argo_magic.backends.argo import client, server  # noqa: PLC0415 - not before a run

    return server.connect(settings) if server.server_address(settings) else client.connect(settings)
