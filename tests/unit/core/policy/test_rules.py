"""core/policy/rules.py: what each rule refuses, its messages, and that more rules never allow more."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.policy.advisories import Advisory, Found
from uv_argo_magic.core.policy.model import Policy, Subject
from uv_argo_magic.core.policy.reader import limited, read
from uv_argo_magic.core.policy.rules import RULES, check
from uv_argo_magic.core.requirements.parser import parse
from uv_argo_magic.core.resolution.lock import Lock, Package, Target, Unresolved
from uv_argo_magic.core.spec.run_spec import Resources, RunSpec, Settings

HASH = "0" * 64
DAY = 86400.0
NOW = 1767225600.0  # 2026-01-01T00:00:00Z
ALPHA = Package(
    name="alpha", version="1.0", sha256=HASH, size=1000, file="alpha-1.0-py3-none-any.whl", requested=True,
    uploaded="2025-01-01T00:00:00+00:00",
)  # fmt: skip
BETA = replace(
    ALPHA, name="beta", version="1.5", file="beta-1.5-py3-none-any.whl", requested=False, via=("alpha",), size=3000
)
CLUSTER = frozenset({"image", "patch", "secret_env", "semaphore", "service_account", "store", "template", "volumes"})


SETTINGS = set(Settings.__dataclass_fields__) - {"indexes", "images"}
"""Names of settings that `build_subject` accepts; `indexes` and `images` are fields of Subject."""


def build_lock(*packages, base=()):
    return Lock(packages=packages, target=Target(python="3.12.1"), base_packages=base)


def build_subject(*packages, base=(), resources=None, session="", requirements="", **values):
    settings = {name: values.pop(name) for name in list(values) if name in SETTINGS}
    spec = RunSpec(
        cell="", settings=Settings(**settings), resources=resources or Resources(), session=session,
        requirements=parse(requirements),
    )  # fmt: skip
    return Subject(spec=spec, resolution=build_lock(*packages, base=base), now=NOW, **values)


def violations_of(rule, value, subject):
    """The violations of one rule, as text without the source."""
    section, _, key = rule.partition(".")
    policy = read(f"[{section}]\n{key} = {value}", "p")
    subject = replace(subject, spec=limited(subject.spec, policy))
    return [item.text.removesuffix(f" [{rule}, p]") for item in check(policy, subject) if item.rule == rule]


def test_blocked_transitive_package_is_reported_with_its_path():
    value = '[{name = "Beta", versions = "<2", reason = "CVE-2024-1"}, "gamma"]'
    assert violations_of("packages.blocked", value, build_subject(ALPHA, BETA)) == [
        "beta 1.5 is blocked: CVE-2024-1 (required by alpha). Use a version that is not <2."
    ]
    assert violations_of("packages.blocked", '["beta"]', build_subject(ALPHA, BETA)) == [
        "beta 1.5 is blocked (required by alpha). Remove or replace alpha."
    ]
    assert violations_of("packages.blocked", '["alpha"]', build_subject(ALPHA)) == [
        "alpha 1.0 is blocked. Remove alpha, or use another package."
    ]
    assert violations_of("packages.blocked", '["beta>=2"]', build_subject(ALPHA, BETA)) == []


def test_only_exact_versions_are_blocked_before_resolution():
    unresolved = replace(build_subject(requirements="beta"), resolution=None)
    assert violations_of("packages.blocked", '["beta<2"]', unresolved) == []
    assert violations_of("packages.blocked", '["beta"]', unresolved) == [
        "beta is blocked. Remove beta, or use another package."
    ]
    unresolved = replace(build_subject(requirements="beta==1.0"), resolution=None)
    assert len(violations_of("packages.blocked", '["beta<2"]', unresolved)) == 1


def test_blocked_package_of_the_image_is_refused():
    assert violations_of("packages.blocked", '["numpy<2"]', build_subject(base=(("numpy", "1.26"),))) == [
        "numpy 1.26 is blocked. Use a version that is not <2."
    ]


def test_packages_that_are_not_allowed_are_refused():
    assert violations_of("packages.allowed", '["alpha", "b*"]', build_subject(ALPHA, BETA)) == []
    assert violations_of("packages.allowed", '["alpha"]', build_subject(ALPHA, BETA)) == [
        "beta 1.5 is not an allowed package (required by alpha). Remove or replace alpha."
    ]
    assert violations_of("packages.allowed", '["alpha>=2", "alpha<1"]', build_subject(ALPHA)) == [
        "alpha 1.0 is not an allowed package. Use a version of alpha that is: <1 or >=2."
    ]


def test_package_must_be_in_all_lists_of_allowed_packages():
    merged = read('[packages]\nallowed = ["alpha"]', "a") | read('[packages]\nallowed = ["beta"]', "b")
    assert {(item.package, item.origin) for item in check(merged, build_subject(ALPHA, BETA))} == {
        ("beta", "a"),
        ("alpha", "b"),
    }


OSV = "https://osv.example.com"
ADVISORY = Advisory(id="GHSA-1", package="beta", summary="Bad things.", aliases=("CVE-2024-1",), fixed=("1.6", "2.1"))


def test_vulnerable_package_is_refused_with_the_fixed_version():
    subject = build_subject(ALPHA, BETA, advisories=(Found(source=OSV, advisories=(ADVISORY,)),))
    assert violations_of("packages.vulnerabilities", f'"{OSV}"', subject) == [
        "beta 1.5 has a known vulnerability, GHSA-1: Bad things (required by alpha). Use beta>=1.6."
    ]
    for ignored in ("GHSA-1", "CVE-2024-1"):
        value = f'{{source = "{OSV}", ignore = ["{ignored}"]}}'
        assert violations_of("packages.vulnerabilities", value, subject) == []
    assert violations_of("packages.vulnerabilities", '"https://other.example.com"', subject) == []
    assert violations_of("packages.vulnerabilities", f'"{OSV}"', replace(subject, resolution=build_lock(ALPHA))) == []


def test_malware_is_refused():
    malware = Advisory(id="MAL-1", package="alpha")
    subject = build_subject(ALPHA, advisories=(Found(source=OSV, advisories=(malware,)),))
    assert violations_of("packages.vulnerabilities", f'"{OSV}"', subject) == [
        "alpha 1.0 is known malware, MAL-1. Remove alpha."
    ]


def test_failed_vulnerability_lookup_is_refused():
    subject = build_subject(ALPHA, advisories=(Found(source=OSV, problem="no answer"),))
    assert violations_of("packages.vulnerabilities", f'"{OSV}"', subject) == [
        (
            "Known vulnerabilities could not be looked up: no answer. "
            "Run the cell again later, or ask your administrator."
        )
    ]


def test_look_alikes_are_refused_unless_accepted():
    forged = replace(ALPHA, name="requets")
    assert violations_of("packages.look_alikes", "[]", build_subject(forged, ALPHA)) == [
        (
            "requets 1.0 looks like requests: the names differ by one character. "
            "Use requests, or ask your administrator to accept requets."
        )
    ]
    assert violations_of("packages.look_alikes", '["requets<2"]', build_subject(forged)) == []
    assert len(violations_of("packages.look_alikes", '["requets<1"]', build_subject(forged))) == 1


def test_audit_rule_refuses_nothing():
    assert violations_of("audit.files", '["/var/log/a"]', build_subject(ALPHA)) == []


def test_packages_must_have_a_minimum_age():
    recently_uploaded = replace(ALPHA, uploaded="2025-12-30T12:00:00+00:00")
    assert violations_of("packages.min_age", '"7 days"', build_subject(ALPHA)) == []
    assert violations_of("packages.min_age", '"7 days"', build_subject(recently_uploaded)) == [
        'alpha 1.0 was uploaded less than 7 days ago (2025-12-30). Add --set exclude_newer="7 days".'
    ]
    assert violations_of("packages.min_age", '"7 days"', build_subject(replace(ALPHA, uploaded=""))) == [
        "It is not known when alpha 1.0 was uploaded. Use an index that provides upload times."
    ]
    assert (
        violations_of("packages.min_age", '"7 days"', replace(build_subject(requirements="alpha"), resolution=None))
        == []
    )


def test_untrusted_indexes_are_refused():
    value = '["https://index.example.com/simple"]'
    subject = build_subject(ALPHA, indexes=("https://index.example.com/simple/", "https://evil.example.net/simple"))
    assert violations_of("indexes.trusted", value, subject) == [
        "https://evil.example.net/simple is not a trusted index. Use --set index_url=https://index.example.com/simple."
    ]
    assert violations_of("indexes.trusted", value, build_subject(ALPHA, indexes=("default",))) == [
        "uv's default index is not a trusted index. Use --set index_url=https://index.example.com/simple."
    ]
    assert violations_of("indexes.trusted", '["default"]', build_subject(ALPHA, indexes=("default",))) == []
    assert violations_of(
        "indexes.trusted", '["default"]', build_subject(ALPHA, indexes=("https://a.example.com/default",))
    ) == ["https://a.example.com/default is not a trusted index. Use uv's default index: remove index_url and indexes."]
    assert violations_of("indexes.trusted", '["pytorch"]', build_subject(ALPHA, indexes=("pytorch",))) == []
    assert violations_of("indexes.trusted", value, build_subject(ALPHA, indexes=("pytorch",))) == [
        "uv's index of PyTorch is not a trusted index. Use --set index_url=https://index.example.com/simple."
    ]
    assert violations_of("indexes.trusted", "[]", build_subject(ALPHA, indexes=("default",))) == [
        "uv's default index is not a trusted index. Remove the requirements."
    ]


def test_insecure_hosts_are_refused():
    subject = build_subject(ALPHA, insecure_hosts=("index.example.com",))
    assert violations_of("indexes.trusted", '["default"]', subject) == [
        "The certificate of index.example.com would not be checked. Remove UV_INSECURE_HOST from the environment."
    ]


URL = "https://files.example.com/alpha-1.0-py3-none-any.whl"


@each(
    "subject",
    [
        build_subject(requirements=f"alpha @ {URL}"),
        build_subject(constraints=(f"alpha @ {URL}",)),
        build_subject(overrides=(f"alpha @ {URL}",)),
        build_subject(replace(ALPHA, url=URL)),
        build_subject(replace(ALPHA, url=URL), requirements=f"alpha @ {URL}"),
    ],
)
def test_url_requirements_are_refused_everywhere(subject):
    assert violations_of("indexes.urls", '["https://other.example.com/*"]', subject) == [
        f"alpha is requested by a URL that is not allowed: {URL}. Use a version from the index: alpha==VERSION."
    ]
    assert violations_of("indexes.urls", '["https://files.example.com/*"]', subject) == []
    assert [item.rule for item in check(read("", "p"), subject)] == ["indexes.urls"]


def test_git_urls_have_their_own_rule():
    subject = build_subject(replace(ALPHA, url="git+https://ana:secret@git.example.com/alpha@main"))
    assert violations_of("indexes.urls", "[]", subject) == []
    (text,) = violations_of("indexes.git", "[]", subject)
    assert "secret" not in text
    assert violations_of("indexes.git", '["git+https://git.example.com/*"]', subject) == []


def test_building_from_source_is_refused():
    sdist = replace(ALPHA, file="alpha-1.0.tar.gz")
    assert violations_of("install.only_binary", "true", build_subject(ALPHA)) == []
    assert violations_of("install.only_binary", "true", build_subject(sdist, only_binary=False)) == [
        "Building from source is not allowed, because it runs code of the package. Remove only_binary=false.",
        "alpha 1.0 has no wheel here, and building from source is not allowed. Use a version with a wheel.",
    ]
    assert RULES["install.only_binary"].early


def test_installing_python_is_refused():
    assert violations_of("install.python_downloads", "false", build_subject()) == []
    assert violations_of("install.python_downloads", "false", build_subject(python_downloads="automatic")) == [
        "Installing a Python is not allowed. Remove python_downloads, or choose another --python."
    ]


def test_persistent_environments_are_refused():
    assert violations_of("install.persistent", "false", build_subject(env="shared")) == []
    for settings in ({"env": "persistent"}, {"venv": "/data/.venv"}):
        assert violations_of("install.persistent", "false", build_subject(**settings)) == [
            "A persistent environment is not allowed. Remove the settings env and venv, or use a store."
        ]


def test_packages_without_hash_are_refused():
    assert violations_of("install.hashes", "true", build_subject(ALPHA)) == []
    assert violations_of("install.hashes", "true", replace(build_subject(requirements="alpha"), resolution=None)) == []
    assert violations_of("install.hashes", "true", build_subject(replace(ALPHA, sha256=""))) == [
        "alpha 1.0 has no hash in the lock. Lock the packages again with --upgrade."
    ]


def test_size_of_an_install_is_limited():
    assert violations_of("install.max_packages", "2", build_subject(ALPHA, BETA)) == []
    assert violations_of("install.max_packages", "1", build_subject(ALPHA, BETA)) == [
        "2 packages would be installed, but the limit is 1. Require fewer packages, or split the work between cells."
    ]
    assert violations_of("install.max_download", '"4kB"', build_subject(ALPHA, BETA)) == []
    assert violations_of("install.max_download", '"3kB"', build_subject(ALPHA, BETA)) == [
        (
            "The download is 4.0 kB, but the limit is 3.0 kB. "
            "Require fewer or smaller packages; the largest is beta 1.5 with 3.0 kB."
        )
    ]


def test_installs_per_hour_are_limited():
    assert violations_of("install.per_hour", "30", build_subject(ALPHA)) == []
    assert violations_of("install.per_hour", "30", build_subject(ALPHA, recent_installs=29)) == []
    (text,) = violations_of("install.per_hour", "30", build_subject(ALPHA, recent_installs=30))
    assert text.startswith("30 runs with packages started on this machine in the last hour, but the limit is 30.")


def test_confirm_rule_asks_a_question():
    subject = build_subject(ALPHA, question="This notebook has runs of another user")
    (violation,) = check(read('[install]\nconfirm = "foreign-lock"', "p"), subject)
    assert violation.is_question
    assert violation.action == "Check them, then add --set yes=true once."
    assert check(read('[install]\nconfirm = "foreign-lock"', "p"), build_subject(ALPHA)) == ()


def test_settings_are_limited():
    assert violations_of("run.max_time", '"1h"', build_subject()) == []
    assert violations_of("run.max_time", '"1h"', build_subject(run_timeout=7200.0)) == [
        "run_timeout is 2 hours, but the limit is 1 hour. Add --set run_timeout=3600s."
    ]
    assert violations_of("install.max_disk", '"1GiB"', build_subject(install_disk=2 * 1024**3)) == [
        "install_disk is 2 GiB, but the limit is 1 GiB. Add --set install_disk=1073741824."
    ]
    violations = check(read('[run]\nmax_time = "1h"', "p"), build_subject())
    assert [item.sentence for item in violations] == ["run_timeout is not limited, but the limit is 1 hour"]


def test_resources_are_limited():
    subject = build_subject(resources=Resources(cpu="500m", memory="1Gi..32Gi", gpu="2"))
    assert violations_of("run.max_cpu", '"4"', subject) == []
    assert violations_of("run.max_memory", '"16Gi"', subject) == [
        "memory=1Gi..32Gi is requested, but the limit is 16 GiB. Request less memory."
    ]
    assert violations_of("run.max_gpu", "1", subject) == ["gpu=2 is requested, but the limit is 1. Request less gpu."]
    assert violations_of("run.max_disk", '"1Gi"', subject) == []


@each(
    ("rule", "value", "settings", "names"),
    [
        ("cluster.images", '["registry.example.com/*"]', {}, ["image evil.example.net/a:1"]),
        ("cluster.service_accounts", '["cells"]', {"service_account": "admin"}, ["service account admin"]),
        ("cluster.service_accounts", '["cells"]', {"service_account_token": True}, ["service account default"]),
        (
            "cluster.secrets",
            '["team-*"]',
            {
                "secret_env": (("T", "team-a/key"), ("X", "root/key")),
                "secret_files": (("/x", "files"),),
                "index_secrets": (("corp", "login"),),
                "image_pull_secrets": ("pull",),
            },
            ["Secret root", "Secret files", "Secret login", "Secret pull"],
        ),
        (
            "cluster.volumes",
            '["claim/data"]',
            {"volumes": (("/d", "claim/data:ro"), ("/e", "claim/other")), "store": "claim/environments"},
            ["volume claim/other", "volume claim/environments"],
        ),
        ("cluster.templates", '["uv-argo-cell"]', {}, ["WorkflowTemplate (none)"]),
        ("cluster.semaphores", '["limits/cells"]', {}, ["semaphore (none)"]),
        ("cluster.semaphores", '["limits/cells"]', {"semaphore": "limits/more"}, ["semaphore limits/more"]),
        ("cluster.templates", '["uv-argo-cell"]', {"template": "other"}, ["WorkflowTemplate other"]),
    ],
)
def test_cluster_objects_must_be_allowed(rule, value, settings, names):
    images = ("registry.example.com/a:1", "evil.example.net/a:1")
    subject = build_subject(images=images, uses=CLUSTER, **settings)
    assert [text.partition(" is not allowed")[0] for text in violations_of(rule, value, subject)] == [
        f"The {name}" for name in names
    ]
    elsewhere = replace(subject, uses=frozenset(), images=())
    assert violations_of(rule, value, elsewhere) == []


def test_message_lists_the_allowed_values():
    (text,) = violations_of("cluster.images", '["a/*", "b/*"]', build_subject(images=("c/d",), uses=CLUSTER))
    assert text == "The image c/d is not allowed. Use one of: a/*, b/*."
    (text,) = violations_of("cluster.images", "[]", build_subject(images=("c/d",), uses=CLUSTER))
    assert text == "The image c/d is not allowed. Remove image or base."


def test_patch_cannot_bypass_a_rule():
    assert violations_of("cluster.images", '["*"]', build_subject(patch="patch.yaml", uses=CLUSTER)) == [
        "The setting patch could change the image. Remove the setting patch."
    ]


def test_sessions_are_limited():
    assert violations_of("sessions.allowed", "false", build_subject()) == []
    assert violations_of("sessions.allowed", "false", build_subject(session="main")) == [
        "Sessions are not allowed. Run the cell without --session."
    ]
    assert violations_of("sessions.max_keep", '"1h"', build_subject(keep=7200.0)) == []
    assert violations_of("sessions.max_keep", '"1h"', build_subject(session="main", keep=0.0)) == []
    assert violations_of("sessions.max_keep", '"1h"', build_subject(session="main", keep=7200.0)) == [
        "keep is 2 hours, but the limit is 1 hour. Add --set keep=3600s."
    ]
    assert violations_of("sessions.max_age", '"1h"', build_subject(session="main")) == []
    assert violations_of("sessions.max_sessions", "4", build_subject(session="main")) == []
    assert violations_of("sessions.max_sessions", "4", build_subject(session="main", max_sessions=30)) == [
        "max_sessions is 30, but the limit is 4. Add --set max_sessions=4."
    ]


def test_control_characters_are_removed():
    (text,) = violations_of(
        "packages.blocked", r'[{name = "alpha", reason = "\u001b[31mred\u0007\nline"}]', build_subject(ALPHA)
    )
    assert text == "alpha 1.0 is blocked: [31mredline. Remove alpha, or use another package."


def test_packages_must_be_resolved_locally():
    subject = replace(build_subject(), resolution=Unresolved(lines=("alpha",), reason="no index responds"))
    (violation,) = check(read("", "p"), subject)
    assert violation.rule == "resolution"
    assert "no index responds" in violation.text
    assert check(Policy(), subject) == ()
    assert check(read("", "p"), replace(subject, resolution=Unresolved(lines=(), reason="a probe"))) == ()


def test_violations_have_a_sentence_and_an_action():
    subject = build_subject(
        ALPHA, BETA, run_timeout=1e9, only_binary=False, indexes=("default",), session="s", keep=1e6
    )
    text = (
        "[packages]\nallowed=[]\n[indexes]\ntrusted=[]\n[install]\nonly_binary=true\nmax_packages=0\n[run]\nmax_time=60"
    )
    for violation in check(read(text, "p"), subject):
        assert re.fullmatch(r"[^.].*[^.]", violation.sentence)
        assert re.fullmatch(r"[A-Z].*\.", violation.action)


NAMES = st.sampled_from(["alpha", "beta", "gamma"])
LISTS = st.lists(
    st.one_of(NAMES, st.just("*"), st.builds("{}{}".format, NAMES, st.sampled_from(["<2", ">=2", "==1.0"]))), max_size=3
)
ADDRESSES = st.lists(
    st.sampled_from(["default", "https://a.example.com/*", "https://b.example.com/simple"]), max_size=2
)
VALUES = {
    "packages.allowed": LISTS,
    "packages.blocked": LISTS,
    "packages.look_alikes": LISTS,
    "packages.min_age": st.sampled_from(["1 day", "30 days"]),
    "indexes.trusted": ADDRESSES,
    "install.only_binary": st.just(True),
    "install.hashes": st.just(True),
    "install.max_packages": st.integers(0, 4),
    "install.max_download": st.integers(0, 5000),
    "run.max_time": st.integers(1, 7200),
    "run.max_memory": st.sampled_from(["1Gi", "8Gi"]),
    "cluster.images": st.lists(st.sampled_from(["a/*", "b/*"]), max_size=2),
    "sessions.allowed": st.just(False),
}
POLICIES = st.fixed_dictionaries({}, optional=VALUES)
SUBJECTS = st.builds(
    lambda packages, **values: build_subject(*packages.values(), **values),
    packages=st.dictionaries(NAMES, st.none()).flatmap(
        lambda names: st.fixed_dictionaries(
            {
                name: st.builds(
                    lambda version, uploaded, sha256, name=name: replace(
                        ALPHA, name=name, version=version, uploaded=uploaded, sha256=sha256
                    ),
                    st.sampled_from(["1.0", "2.0", ""]),
                    st.sampled_from(["", "2025-12-31T00:00:00+00:00", "2024-01-01T00:00:00+00:00"]),
                    st.sampled_from([HASH, ""]),
                )
                for name in names
            }
        )
    ),
    indexes=st.lists(st.sampled_from(["default", "https://a.example.com/simple", "https://b.example.com/simple"])).map(
        tuple
    ),
    run_timeout=st.sampled_from([0.0, 60.0, 7200.0]),
    resources=st.builds(Resources, memory=st.sampled_from(["", "4Gi", "32Gi"])),
    images=st.sampled_from([(), ("a/x",), ("b/x", "c/x")]),
    session=st.sampled_from(["", "main"]),
    only_binary=st.booleans(),
)


def policy_of(values, origin="p"):
    policy = Policy()
    for name, value in values.items():
        section, _, key = name.partition(".")
        text = f"[{section}]\n{key} = {_toml(value)}"
        policy |= Policy(frozenset(item for item in read(text, origin).statements if item.rule == name))
    return policy


def _toml(value):
    return (
        str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | list) else f'"{value}"'
    )


def rules_of(policy, subject):
    return {(item.rule, item.package) for item in check(policy, subject)}


@given(first_values=POLICIES, second_values=POLICIES, subject=SUBJECTS)
def test_merged_policy_refuses_what_each_policy_refuses(first_values, second_values, subject):
    first, second = policy_of(first_values, "one"), policy_of(second_values, "two")
    assert first | second == second | first
    assert first | first == first
    assert rules_of(first | second, subject) >= rules_of(first, subject) | rules_of(second, subject)


@given(first_values=POLICIES, second_values=POLICIES, third_values=POLICIES)
def test_merging_is_associative(first_values, second_values, third_values):
    first, second, third = (
        policy_of(first_values, "one"),
        policy_of(second_values, "two"),
        policy_of(third_values, "three"),
    )
    assert (first | second) | third == first | (second | third)


@given(values=POLICIES, subject=SUBJECTS, name=st.sampled_from(sorted(VALUES)), data=st.data())
def test_additional_rule_never_allows_more(values, subject, name, data):
    more = policy_of({name: data.draw(VALUES[name])}, "more")
    assert rules_of(policy_of(values) | more, subject) >= rules_of(policy_of(values), subject)


@given(values=POLICIES, more=st.lists(LISTS, min_size=1))
def test_rules_in_force_are_part_of_the_policy(values, more):
    policy = policy_of(values)
    for blocked in more:
        policy |= policy_of({"packages.blocked": blocked})
    for rule in RULES.values():
        assert set(rule.in_force(policy)) <= set(policy.statements)
        assert bool(rule.in_force(policy)) == bool(policy.of(rule.name))
