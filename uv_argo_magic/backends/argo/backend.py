"""The argo backend: the program runs in a pod of an unmodified Argo Workflows.

Requests have the permissions of a kubeconfig, or of this process's own pod.

Rules:
- A script template runs the same program as on `local`; nothing of this package is installed in the cluster.
- hera, kubernetes, urllib3 and yaml are imported when a run uses them.
- The workflow and its log are kept until the workflow's TTL, so that the log can still be read.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import cluster_features, connections, doctor, early_output, pod_workers, session_list
from uv_argo_magic.backends.argo import follow as follow_module
from uv_argo_magic.backends.argo.manifests import run_metadata, template, workflow, yaml_output
from uv_argo_magic.backends.argo.manifests.hera import INSTALL, hera, required_packages
from uv_argo_magic.backends.argo.role import POLICY
from uv_argo_magic.backends.base import BACKEND_SETTINGS, Capability, Check, PolicyText, Submission
from uv_argo_magic.backends.kubernetes import images
from uv_argo_magic.core.protocol.events import NodePhase
from uv_argo_magic.errors import BackendError, BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.backends.argo.cluster_features import Features
    from uv_argo_magic.backends.argo.early_output import EarlyOutput
    from uv_argo_magic.backends.base import Item, RemoteRun
    from uv_argo_magic.backends.sessions import RemoteSession, WorkerEnd, WorkerOptions
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.uv.interpreters import Interpreter

MAX_ENDED = 256
"""Maximum number of ended runs whose client is kept."""
POLICY_AGE = 60.0
"""Seconds for which a package policy is cached."""


@dataclass(kw_only=True)
class _KnownRun:
    """A run that the methods accept by name: its client, its nonce, and whether this process stopped it."""

    client: ArgoClient
    nonce: str
    stopping: threading.Event = field(default_factory=threading.Event)
    followed: bool = False
    start_timeout: float = 0.0
    """0 except in the process that submitted the run: only that one stops a run that cannot start."""
    early: EarlyOutput | None = None
    """The token for early output, in the process that submitted the run."""


class ArgoBackend:
    """Runs programs as Argo Workflows in the cluster and namespace that the settings select."""

    capabilities = Capability.DETACH | Capability.RESOURCES
    settings = BACKEND_SETTINGS

    def __init__(self, connect: Callable[[Settings], ArgoClient] | None = None) -> None:
        self._connect = connect or connections.connect
        self._lock = threading.Lock()
        self._runs: dict[str, _KnownRun] = {}
        self._executors: dict[str, str] = {}
        """Location -> the containers that Argo adds to pods, as seen in an earlier pod."""
        self._policies: dict[str, tuple[float, PolicyText]] = {}
        """Location -> (time of reading, package policy)."""
        self._misreports: dict[str, str] = {}
        """Location -> a remark to print before the next run on it (Follower.misreport); "" once printed."""

    def target(self, spec: RunSpec) -> Interpreter:
        """The Python in the image of the settings, or of their template, which is then requested from the API.

        Raises:
            SpecError: there is no image for this Python, or the template does not exist.
            BackendUnavailable: the settings name a template, and the API does not respond.
        """
        if spec.settings.template:
            return template.target(self._template(spec.settings), spec)
        return images.target(spec.python, spec.settings)

    def image(self, spec: RunSpec) -> str:
        """The image that the settings select.

        Raises:
            SpecError: there is no image for this Python, or a template determines the image.
            BackendUnavailable: the settings name a template, and the API does not respond.
        """
        if spec.settings.template:
            return template.image(self._template(spec.settings), spec.settings)
        return spec.settings.image or images.target(spec.python, spec.settings).image

    def describe(self, program: Program, spec: RunSpec) -> str:
        """The Workflow as YAML, and whether the API would accept it.

        Raises:
            SpecError: the program is too large.
            BackendUnavailable: hera or kubernetes are not installed.
        """
        with required_packages():
            client, features, answer = None, None, ""
            try:
                client = self._connect(spec.settings)
                features = self._features(client, spec.settings)
            except BackendError as problem:
                client, answer = None, f"Not validated by the API: {_message(problem)}"
            manifest, is_large = self._build(program, spec, "dry-run", features=features)
            if client is not None:
                answer = _dry_run(client, manifest)
            if is_large:
                answer = f"The program ({len(program.source):,} bytes) is in a separate ConfigMap.\n# {answer}"
            return f"{yaml_output.abbreviate(yaml_output.dump(manifest)).rstrip()}\n# {answer}"

    def manifest(self, program: Program, spec: RunSpec) -> str:
        """The Workflow as YAML; if its program is large, after a ConfigMap with the program.

        Raises:
            SpecError: the program is too large.
            BackendUnavailable: hera is not installed.
        """
        with required_packages():
            run_id = f"file-{program.nonce}"
            manifest, is_large = self._build(program, spec, run_id)
            if not is_large:
                return yaml_output.dump(manifest)
            # The ConfigMap is created first, so the workflow's name must be known.
            name = f"{run_metadata.GENERATE}{run_id}"
            if spec.settings.template:
                del manifest["metadata"]["generateName"]
                manifest["metadata"] = {"name": name, **manifest["metadata"]}
            return yaml_output.dump(workflow.config_map(program, spec, run_id=run_id, workflow=name), manifest)

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:
        """Create the workflow; the API chooses its name.

        Raises:
            SpecError: the program is too large.
            BackendUnavailable: no cluster is configured, it does not respond, or hera or kubernetes are not installed.
            SubmitRejected: the API refused the workflow.
        """
        with required_packages():
            client = self._connect(spec.settings)
            features = self._features(client, spec.settings)
            early = early_output.client_for(client, spec)
            manifest, is_large = self._build(program, spec, run_id, notebook, features, early.options if early else "")
        if features and not features.pending_timeout:
            sys.stderr.write(
                "uv-argo: pending_timeout ignored: it needs Argo 4.1 or newer; "
                f"the deadline ends the workflow {spec.settings.deadline:g} seconds after its start\n"
            )
        if misreport := self._misreports.get(client.location):
            sys.stderr.write(f"uv-argo: {misreport}\n")
            self._misreports[client.location] = ""
        try:
            created = client.create(manifest)["metadata"]
            name = str(created["name"])
            if is_large:
                config_map = workflow.config_map(program, spec, run_id=run_id, workflow=name, uid=str(created["uid"]))
                _create_config_map(client, config_map, program)
        except BaseException:
            # The workflow may exist: stop it, because it would run unnoticed, or wait for its program.
            with contextlib.suppress(BackendError):
                for created in client.workflows(f"{run_metadata.RUN_LABEL}={run_id}"):
                    client.shutdown(created["metadata"]["name"], "Terminate")
            raise
        self._remember(
            name,
            _KnownRun(
                client=client,
                nonce=program.nonce,
                followed=True,
                start_timeout=spec.settings.start_timeout,
                early=early,
            ),
        )
        return Submission(name=name, location=client.location)

    def find(self, name: str, settings: Settings) -> RemoteRun | None:
        """A run in the namespace of the settings, by the name of its workflow or its id.

        Raises:
            BackendUnavailable: no cluster is configured, it does not respond, or kubernetes is not installed.
            SpecError: this package did not create the workflow, or a newer version did.
        """
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", name):
            return None
        client = self._client(settings)
        run = run_metadata.find(client, name)
        if run is not None:
            self._remember(run.name, _KnownRun(client=client, nonce=run.nonce))
        return run

    def runs(self, settings: Settings) -> tuple[RemoteRun, ...]:
        """The runs of all users in the namespace of the settings.

        Raises:
            BackendError: no cluster is configured, it does not respond, or the user is not allowed to list workflows.
        """
        client = self._client(settings)
        return tuple(run_metadata.read_all(client.workflows(run_metadata.RUN_LABEL), client.location))

    def policy(self, settings: Settings) -> PolicyText:
        """The policy in the ConfigMap `uv-argo-policy` of the namespace, cached for POLICY_AGE.

        If the API does not respond, nothing is cached, so that the policy applies to the next run that reaches it.
        """
        try:
            client = self._client(settings)
        except BackendUnavailable as problem:
            return PolicyText(origin=f"ConfigMap {POLICY}", problem=str(problem), unavailable=problem)
        read_at, known = self._policies.get(client.location, (0.0, None))
        if known and time.monotonic() - read_at < POLICY_AGE:
            return known
        origin = f"ConfigMap {POLICY} of {client.location}"
        try:
            found = PolicyText(origin=origin, text=client.policy())
        except BackendUnavailable as problem:
            return PolicyText(origin=origin, problem=str(problem), unavailable=problem)
        except BackendError as problem:
            found = PolicyText(origin=origin, problem=str(problem))
        self._policies[client.location] = (time.monotonic(), found)
        return found

    def watch(self, name: str, *, follow: bool = True) -> Iterator[Item]:
        """Log text and phases. The last item is Argo's own phase, which comes some seconds after the exit record."""
        run = self._runs.get(name)
        if run is None:
            yield NodePhase(phase="Error", message=f"no workflow of this kernel is named {name}", t=time.time())
        elif follow:
            run.followed = True
            follower = follow_module.Follower(
                run.client, name, run.nonce, stopping=run.stopping, start_timeout=run.start_timeout,
                read_early=functools.partial(run.early.lines, run.client) if run.early else None,
            )  # fmt: skip
            yield from follower.items()
            if follower.misreport:
                self._misreports.setdefault(run.client.location, follower.misreport)
        else:
            yield from follow_module.so_far(run.client, name)

    def stop(self, name: str) -> None:
        """Stop the workflow; Argo's controller takes about five seconds to signal the cell.

        Raises:
            BackendError: the API refused the request, or does not respond.
        """
        if run := self._runs.get(name):
            run.stopping.set()
            run.client.shutdown(name, "Stop")

    def manual_stop_commands(self, name: str) -> tuple[str, ...]:
        """Commands of kubectl and of the `argo` CLI."""
        run = self._runs.get(name)
        return run.client.manual_stop_commands(name) if run else ()

    def start_worker(self, program: Program, spec: RunSpec, options: WorkerOptions) -> str:
        """Create the workflow of a session.

        Raises:
            SpecError: a setting does not allow sessions.
            BackendError: the user is not allowed to forward ports, or the API does not respond or refused the workflow.
        """
        with required_packages():
            client = self._connect(spec.settings)
            pod_workers.check(client, spec)
            manifest = self._build_session(client, program, spec, options)
        try:
            name = str(client.create(manifest)["metadata"]["name"])
        except BaseException:
            # The workflow may exist, and no client would ever connect to it.
            with contextlib.suppress(BackendError):
                for created in client.workflows(session_list.SELECTOR):
                    if options.token_digest in json.dumps(created):
                        client.shutdown(created["metadata"]["name"], "Terminate")
            raise
        settings = spec.settings
        return str(
            pod_workers.Address(
                workflow=name, namespace=client.namespace, kubeconfig=settings.kubeconfig, context=settings.context
            )
        )

    def _build_session(
        self, client: ArgoClient, program: Program, spec: RunSpec, options: WorkerOptions
    ) -> dict[str, Any]:
        """The Workflow of a session."""
        worker = pod_workers.options(options)
        if spec.settings.template:
            return template.build_session(self._template(spec.settings), program, spec, options, worker=worker)
        return workflow.build_session(
            program,
            spec,
            options,
            worker=worker,
            image=images.target(spec.python, spec.settings).image,
            features=self._features(client, spec.settings),
            patch=cluster_features.read_patch(spec.settings.patch) if spec.settings.patch else None,
        )

    def connect(self, address: str) -> socket.socket:
        """A connection to the worker of a session.

        Raises:
            OSError: the worker cannot be reached now.
            BackendError: the API does not respond, or the user is not allowed to forward ports.
        """
        return pod_workers.connect(*self._worker(address))

    def location(self, address: str) -> str:
        """Context and namespace of a session."""
        return self._worker(address)[0].location

    def starting(
        self, address: str, spec: RunSpec, *, is_ready: Callable[[], bool], stopping: threading.Event
    ) -> Iterator[NodePhase]:
        """The phases of a new session's pod, until its worker `is_ready`.

        Raises:
            BackendError: the user is not allowed to read the workflow or its pod.
        """
        return pod_workers.starting(
            *self._worker(address), settings=spec.settings, is_ready=is_ready, stopping=stopping
        )

    def worker_end(self, address: str, instance: str = "") -> WorkerEnd | None:
        """How a session ended, from its pod (with the uid `instance`) and its workflow; None while it runs.

        Raises:
            BackendError: the API does not respond.
        """
        return pod_workers.worker_end(*self._worker(address), instance)

    def note_use(self, address: str, moment: float, *, is_running: bool) -> None:
        """Annotate the workflow of a session with its last use.

        Raises:
            BackendError: the API does not respond, or the user is not allowed to change the workflow.
        """
        client, parsed = self._worker(address)
        client.annotate(parsed.workflow, session_list.used(moment, is_running=is_running))

    def sessions(self, settings: Settings, *, all_namespaces: bool) -> tuple[RemoteSession, ...]:
        """The sessions of every user in the namespace of the settings, or in all namespaces.

        Raises:
            BackendError: no cluster is configured, it does not respond, or the user is not allowed to list workflows.
        """
        workflows = self._client(settings).workflows(session_list.SELECTOR, all_namespaces=all_namespaces)
        return tuple(session_list.read_all(workflows))

    def worker_log(self, address: str, *, follow: bool = False) -> Iterator[Item]:
        """The log of a session's pod, and phases; with `follow`, to its end.

        Raises:
            BackendError: the log cannot be read.
        """
        return pod_workers.log(*self._worker(address), follow=follow)

    def end_worker(self, address: str) -> None:
        """Stop the workflow of a session.

        Raises:
            BackendUnavailable: the API does not respond.
        """
        pod_workers.end(*self._worker(address))

    def _worker(self, address: str) -> tuple[ArgoClient, pod_workers.Address]:
        parsed = pod_workers.Address.parse(address)
        return self._client(parsed.settings), parsed

    def _client(self, settings: Settings) -> ArgoClient:
        """The client for these settings.

        Raises:
            BackendUnavailable: no cluster is configured, or kubernetes is not installed.
        """
        with required_packages():
            return self._connect(settings)

    def _template(self, settings: Settings) -> template.TemplateInfo:
        """The template that the settings name.

        Raises:
            SpecError: the template does not exist, or does not accept programs.
            BackendUnavailable: as in `_client`, or the API does not respond.
        """
        return template.read_template(self._client(settings), settings.template)

    def checks(self, spec: RunSpec) -> Iterator[Check]:
        """Check the configuration, the API, Argo, and all permissions that runs need."""
        try:
            hera()
            yield from doctor.before(functools.partial(self._connect, spec.settings), spec.settings)
        except ImportError as problem:
            yield Check(name="packages", outcome="failed", message=str(problem), hint=INSTALL)

    def run_checks(self, name: str) -> Iterator[Check]:
        """Check Argo's version, and whether it can create a lost pod again."""
        if run := self._runs.get(name):
            yield from doctor.meanwhile(run.client, name)

    def delete(self, name: str) -> None:
        """Mark the run as ended. Argo deletes the workflow, its pod and its log after `ttl` seconds."""
        if run := self._runs.get(name):
            run.followed = False

    def _remember(self, name: str, run: _KnownRun) -> None:
        with self._lock:
            self._runs.setdefault(name, run)
            ended = [key for key, known in self._runs.items() if not known.followed and key != name]
            for key in ended[: max(0, len(ended) - MAX_ENDED)]:
                del self._runs[key]

    def _features(self, client: ArgoClient, settings: Settings) -> Features | None:
        """The features of this Argo; None if a template defines the pod."""
        return None if settings.template else cluster_features.detect(client, settings, self._executors)

    def _build(
        self,
        program: Program,
        spec: RunSpec,
        run_id: str,
        notebook: str = "",
        features: Features | None = None,
        early: str = "",
    ) -> tuple[dict[str, Any], bool]:
        """The Workflow to submit, and whether it needs a ConfigMap with its program."""
        if spec.settings.template:
            info = self._template(spec.settings)
            manifest = template.build(info, program, spec, run_id=run_id, notebook=notebook)
            return manifest, template.needs_config_map(program)
        image = images.target(spec.python, spec.settings).image
        patch = cluster_features.read_patch(spec.settings.patch) if spec.settings.patch else None
        manifest = workflow.build(
            program, spec, run_id=run_id, image=image, notebook=notebook, early=early, features=features, patch=patch
        )
        return manifest, workflow.needs_config_map(program, spec.settings)


def _create_config_map(client: ArgoClient, manifest: dict[str, Any], program: Program) -> None:
    try:
        client.create_config_map(manifest)
    except BackendError as problem:
        raise SubmitRejected(
            f"a program of {len(program.source):,} bytes needs a ConfigMap: {problem}",
            hint=f"Push less (--push). {problem.hint}".strip(),
        ) from problem


def _dry_run(client: ArgoClient, manifest: dict[str, Any]) -> str:
    """The result of a server-side dry run, as a sentence."""
    try:
        client.create(manifest, dry_run=True)
    except SubmitRejected as problem:
        return f"The API would reject this Workflow: {_message(problem)}"
    except BackendError as problem:
        return f"Not validated by the API: {_message(problem)}"
    return f"{client.location}: the API would accept this Workflow (dry run: nothing was created)."


def _message(problem: BackendError) -> str:
    return f"{str(problem).rstrip('.')}. {problem.hint}".strip()
