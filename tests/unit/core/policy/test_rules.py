"""core/policy/rules.py: what each rule refuses, what it tells the user, and that more rules never allow more."""

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
"""The settings that `subject` takes by their names; two names are those of a Subject's own facts."""


def lock(*packages, base=()):
    return Lock(packages=packages, target=Target(python="3.12.1"), base_packages=base)


def subject(*packages, base=(), resources=None, session="", requirements="", **values):
    given_settings = {key: values.pop(key) for key in list(values) if key in SETTINGS}
    spec = RunSpec(
        cell="", settings=Settings(**given_settings), resources=resources or Resources(), session=session,
        requirements=parse(requirements),
    )  # fmt: skip
    return Subject(spec=spec, resolution=lock(*packages, base=base), now=NOW, **values)


def refused(rule, value, asked):
    """The violations of one rule, as text without the source."""
    section, _, key = rule.partition(".")
    policy = read(f"[{section}]\n{key} = {value}", "p")
    asked = replace(asked, spec=limited(asked.spec, policy))
    return [item.text.removesuffix(f" [{rule}, p]") for item in check(policy, asked) if item.rule == rule]


def test_a_transitive_package_is_refused_with_the_path_that_leads_to_it():
    value = '[{name = "Beta", versions = "<2", reason = "CVE-2024-1"}, "gamma"]'
    assert refused("packages.blocked", value, subject(ALPHA, BETA)) == [
        "beta 1.5 is blocked: CVE-2024-1 (required by alpha). Use a version that is not <2."
    ]
    assert refused("packages.blocked", '["beta"]', subject(ALPHA, BETA)) == [
        "beta 1.5 is blocked (required by alpha). Remove or replace alpha."
    ]
    assert refused("packages.blocked", '["alpha"]', subject(ALPHA)) == [
        "alpha 1.0 is blocked. Remove alpha, or use another package."
    ]
    assert refused("packages.blocked", '["beta>=2"]', subject(ALPHA, BETA)) == []


def test_before_the_resolution_only_a_certain_version_is_refused():
    early = replace(subject(requirements="beta"), resolution=None)
    assert refused("packages.blocked", '["beta<2"]', early) == []
    assert refused("packages.blocked", '["beta"]', early) == ["beta is blocked. Remove beta, or use another package."]
    early = replace(subject(requirements="beta==1.0"), resolution=None)
    assert len(refused("packages.blocked", '["beta<2"]', early)) == 1


def test_a_package_of_the_image_that_is_used_is_refused():
    assert refused("packages.blocked", '["numpy<2"]', subject(base=(("numpy", "1.26"),))) == [
        "numpy 1.26 is blocked. Use a version that is not <2."
    ]


def test_whatever_is_not_allowed_is_refused():
    assert refused("packages.allowed", '["alpha", "b*"]', subject(ALPHA, BETA)) == []
    assert refused("packages.allowed", '["alpha"]', subject(ALPHA, BETA)) == [
        "beta 1.5 is not an allowed package (required by alpha). Remove or replace alpha."
    ]
    assert refused("packages.allowed", '["alpha>=2", "alpha<1"]', subject(ALPHA)) == [
        "alpha 1.0 is not an allowed package. Use a version of alpha that is: <1 or >=2."
    ]


def test_two_lists_of_allowed_packages_must_both_have_it():
    both = read('[packages]\nallowed = ["alpha"]', "a") | read('[packages]\nallowed = ["beta"]', "b")
    assert {(item.package, item.origin) for item in check(both, subject(ALPHA, BETA))} == {
        ("beta", "a"),
        ("alpha", "b"),
    }


OSV = "https://osv.example.com"
ADVISORY = Advisory(id="GHSA-1", package="beta", summary="Bad things.", aliases=("CVE-2024-1",), fixed=("1.6", "2.1"))


def test_a_known_vulnerability_is_refused_with_the_version_that_fixes_it():
    asked = subject(ALPHA, BETA, advisories=(Found(source=OSV, advisories=(ADVISORY,)),))
    assert refused("packages.vulnerabilities", f'"{OSV}"', asked) == [
        "beta 1.5 has a known vulnerability, GHSA-1: Bad things (required by alpha). Use beta>=1.6."
    ]
    for ignored in ("GHSA-1", "CVE-2024-1"):
        value = f'{{source = "{OSV}", ignore = ["{ignored}"]}}'
        assert refused("packages.vulnerabilities", value, asked) == []
    assert refused("packages.vulnerabilities", '"https://other.example.com"', asked) == []
    assert refused("packages.vulnerabilities", f'"{OSV}"', replace(asked, resolution=lock(ALPHA))) == []


def test_malware_is_removed():
    malware = Advisory(id="MAL-1", package="alpha")
    asked = subject(ALPHA, advisories=(Found(source=OSV, advisories=(malware,)),))
    assert refused("packages.vulnerabilities", f'"{OSV}"', asked) == [
        "alpha 1.0 is known malware, MAL-1. Remove alpha."
    ]


def test_without_an_answer_nothing_is_allowed():
    asked = subject(ALPHA, advisories=(Found(source=OSV, problem="no answer"),))
    assert refused("packages.vulnerabilities", f'"{OSV}"', asked) == [
        (
            "Known vulnerabilities could not be looked up: no answer. "
            "Run the cell again later, or ask your administrator."
        )
    ]


def test_a_look_alike_is_refused_unless_it_is_accepted():
    forged = replace(ALPHA, name="requets")
    assert refused("packages.look_alikes", "[]", subject(forged, ALPHA)) == [
        (
            "requets 1.0 looks like requests: the names differ by one character. "
            "Use requests, or ask for requets to be accepted."
        )
    ]
    assert refused("packages.look_alikes", '["requets<2"]', subject(forged)) == []
    assert len(refused("packages.look_alikes", '["requets<1"]', subject(forged))) == 1


def test_a_rule_about_records_refuses_nothing():
    assert refused("audit.files", '["/var/log/a"]', subject(ALPHA)) == []


def test_a_package_must_have_an_age():
    young = replace(ALPHA, uploaded="2025-12-30T12:00:00+00:00")
    assert refused("packages.min_age", '"7 days"', subject(ALPHA)) == []
    assert refused("packages.min_age", '"7 days"', subject(young)) == [
        'alpha 1.0 was uploaded less than 7 days ago (2025-12-30). Add --set exclude_newer="7 days".'
    ]
    assert refused("packages.min_age", '"7 days"', subject(replace(ALPHA, uploaded=""))) == [
        "It is not known when alpha 1.0 was uploaded. Use an index that provides upload times."
    ]
    assert refused("packages.min_age", '"7 days"', replace(subject(requirements="alpha"), resolution=None)) == []


def test_only_trusted_indexes_are_used():
    value = '["https://index.example.com/simple"]'
    asked = subject(ALPHA, indexes=("https://index.example.com/simple/", "https://evil.example.net/simple"))
    assert refused("indexes.trusted", value, asked) == [
        "https://evil.example.net/simple is not a trusted index. Use --set index_url=https://index.example.com/simple."
    ]
    assert refused("indexes.trusted", value, subject(ALPHA, indexes=("default",))) == [
        "uv's default index is not a trusted index. Use --set index_url=https://index.example.com/simple."
    ]
    assert refused("indexes.trusted", '["default"]', subject(ALPHA, indexes=("default",))) == []
    assert refused("indexes.trusted", '["default"]', subject(ALPHA, indexes=("https://a.example.com/default",))) == [
        "https://a.example.com/default is not a trusted index. Use uv's default index: remove index_url and indexes."
    ]
    assert refused("indexes.trusted", '["pytorch"]', subject(ALPHA, indexes=("pytorch",))) == []
    assert refused("indexes.trusted", value, subject(ALPHA, indexes=("pytorch",))) == [
        "uv's index of PyTorch is not a trusted index. Use --set index_url=https://index.example.com/simple."
    ]
    assert refused("indexes.trusted", "[]", subject(ALPHA, indexes=("default",))) == [
        "uv's default index is not a trusted index. Remove the requirements."
    ]


def test_certificates_of_trusted_indexes_are_checked():
    asked = subject(ALPHA, insecure_hosts=("index.example.com",))
    assert refused("indexes.trusted", '["default"]', asked) == [
        "The certificate of index.example.com would not be checked. Remove UV_INSECURE_HOST from the environment."
    ]


URL = "https://files.example.com/alpha-1.0-py3-none-any.whl"


@each(
    "asked",
    [
        subject(requirements=f"alpha @ {URL}"),
        subject(constraints=(f"alpha @ {URL}",)),
        subject(overrides=(f"alpha @ {URL}",)),
        subject(replace(ALPHA, url=URL)),
        subject(replace(ALPHA, url=URL), requirements=f"alpha @ {URL}"),
    ],
)
def test_a_url_is_refused_wherever_it_is_written(asked):
    assert refused("indexes.urls", '["https://other.example.com/*"]', asked) == [
        f"alpha is requested by a URL that is not allowed: {URL}. Use a version from the index: alpha==VERSION."
    ]
    assert refused("indexes.urls", '["https://files.example.com/*"]', asked) == []
    assert [item.rule for item in check(read("", "p"), asked)] == ["indexes.urls"]


def test_a_repository_is_an_address_of_its_own_kind():
    asked = subject(replace(ALPHA, url="git+https://ana:secret@git.example.com/alpha@main"))
    assert refused("indexes.urls", "[]", asked) == []
    (text,) = refused("indexes.git", "[]", asked)
    assert "secret" not in text
    assert refused("indexes.git", '["git+https://git.example.com/*"]', asked) == []


def test_nothing_is_built_from_source():
    sdist = replace(ALPHA, file="alpha-1.0.tar.gz")
    assert refused("install.only_binary", "true", subject(ALPHA)) == []
    assert refused("install.only_binary", "true", subject(sdist, only_binary=False)) == [
        "Building from source is not allowed, because it runs code of the package. Remove only_binary=false.",
        "alpha 1.0 has no wheel here, and building from source is not allowed. Use a version with a wheel.",
    ]
    assert RULES["install.only_binary"].early


def test_no_python_is_installed():
    assert refused("install.python_downloads", "false", subject()) == []
    assert refused("install.python_downloads", "false", subject(python_downloads="automatic")) == [
        "Installing a Python is not allowed. Remove python_downloads, or choose another --python."
    ]


def test_no_environment_stays():
    assert refused("install.persistent", "false", subject(env="shared")) == []
    for settings in ({"env": "persistent"}, {"venv": "/data/.venv"}):
        assert refused("install.persistent", "false", subject(**settings)) == [
            "A persistent environment is not allowed. Remove the settings env and venv, or use a store."
        ]


def test_every_file_has_a_hash():
    assert refused("install.hashes", "true", subject(ALPHA)) == []
    assert refused("install.hashes", "true", replace(subject(requirements="alpha"), resolution=None)) == []
    assert refused("install.hashes", "true", subject(replace(ALPHA, sha256=""))) == [
        "alpha 1.0 has no hash in the lock. Lock the packages again with --upgrade."
    ]


def test_the_size_of_an_install_is_limited():
    assert refused("install.max_packages", "2", subject(ALPHA, BETA)) == []
    assert refused("install.max_packages", "1", subject(ALPHA, BETA)) == [
        "2 packages would be installed, but the limit is 1. Require fewer packages, or split the work between cells."
    ]
    assert refused("install.max_download", '"4kB"', subject(ALPHA, BETA)) == []
    assert refused("install.max_download", '"3kB"', subject(ALPHA, BETA)) == [
        (
            "The download is 4.0 kB, but the limit is 3.0 kB. "
            "Require fewer or smaller packages; the largest is beta 1.5 with 3.0 kB."
        )
    ]


def test_installs_are_counted_where_a_count_is_known():
    assert refused("install.per_hour", "30", subject(ALPHA)) == []
    assert refused("install.per_hour", "30", subject(ALPHA, recent_installs=29)) == []
    (text,) = refused("install.per_hour", "30", subject(ALPHA, recent_installs=30))
    assert text.startswith("30 runs with packages started on this machine in the last hour, but the limit is 30.")


def test_what_a_user_can_confirm_is_a_question():
    asked = subject(ALPHA, question="This notebook has runs of another user")
    (violation,) = check(read('[install]\nconfirm = "foreign-lock"', "p"), asked)
    assert violation.is_question
    assert violation.action == "Check them, then add --set yes=true once."
    assert check(read('[install]\nconfirm = "foreign-lock"', "p"), subject(ALPHA)) == ()


def test_settings_have_limits():
    assert refused("run.max_time", '"1h"', subject()) == []
    assert refused("run.max_time", '"1h"', subject(run_timeout=7200.0)) == [
        "run_timeout is 2 hours, but the limit is 1 hour. Add --set run_timeout=3600s."
    ]
    assert refused("install.max_disk", '"1GiB"', subject(install_disk=2 * 1024**3)) == [
        "install_disk is 2 GiB, but the limit is 1 GiB. Add --set install_disk=1073741824."
    ]
    unlimited = check(read('[run]\nmax_time = "1h"', "p"), subject())
    assert [item.sentence for item in unlimited] == ["run_timeout is not limited, but the limit is 1 hour"]


def test_resources_have_limits():
    asked = subject(resources=Resources(cpu="500m", memory="1Gi..32Gi", gpu="2"))
    assert refused("run.max_cpu", '"4"', asked) == []
    assert refused("run.max_memory", '"16Gi"', asked) == [
        "memory=1Gi..32Gi is requested, but the limit is 16 GiB. Request less memory."
    ]
    assert refused("run.max_gpu", "1", asked) == ["gpu=2 is requested, but the limit is 1. Request less gpu."]
    assert refused("run.max_disk", '"1Gi"', asked) == []


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
def test_what_a_run_names_in_the_cluster_is_listed(rule, value, settings, names):
    images = ("registry.example.com/a:1", "evil.example.net/a:1")
    asked = subject(images=images, uses=CLUSTER, **settings)
    assert [text.partition(" is not allowed")[0] for text in refused(rule, value, asked)] == [
        f"The {name}" for name in names
    ]
    elsewhere = replace(asked, uses=frozenset(), images=())
    assert refused(rule, value, elsewhere) == []


def test_a_list_names_what_may_be_used():
    (text,) = refused("cluster.images", '["a/*", "b/*"]', subject(images=("c/d",), uses=CLUSTER))
    assert text == "The image c/d is not allowed. Use one of: a/*, b/*."
    (text,) = refused("cluster.images", "[]", subject(images=("c/d",), uses=CLUSTER))
    assert text == "The image c/d is not allowed. Remove image or base."


def test_a_patch_does_not_lead_around_a_list():
    assert refused("cluster.images", '["*"]', subject(patch="patch.yaml", uses=CLUSTER)) == [
        "The setting patch could change the image. Remove the setting patch."
    ]


def test_sessions_are_limited():
    assert refused("sessions.allowed", "false", subject()) == []
    assert refused("sessions.allowed", "false", subject(session="main")) == [
        "Sessions are not allowed. Run the cell without --session."
    ]
    assert refused("sessions.max_keep", '"1h"', subject(keep=7200.0)) == []
    assert refused("sessions.max_keep", '"1h"', subject(session="main", keep=0.0)) == []
    assert refused("sessions.max_keep", '"1h"', subject(session="main", keep=7200.0)) == [
        "keep is 2 hours, but the limit is 1 hour. Add --set keep=3600s."
    ]
    assert refused("sessions.max_age", '"1h"', subject(session="main")) == []
    assert refused("sessions.max_sessions", "4", subject(session="main")) == []
    assert refused("sessions.max_sessions", "4", subject(session="main", max_sessions=30)) == [
        "max_sessions is 30, but the limit is 4. Add --set max_sessions=4."
    ]


def test_texts_of_others_control_no_terminal():
    (text,) = refused("packages.blocked", r'[{name = "alpha", reason = "\u001b[31mred\u0007\nline"}]', subject(ALPHA))
    assert text == "alpha 1.0 is blocked: [31mredline. Remove alpha, or use another package."


def test_under_a_policy_packages_are_resolved_here():
    asked = replace(subject(), resolution=Unresolved(lines=("alpha",), reason="no index responds"))
    (violation,) = check(read("", "p"), asked)
    assert violation.rule == "resolution"
    assert "no index responds" in violation.text
    assert check(Policy(), asked) == ()
    assert check(read("", "p"), replace(asked, resolution=Unresolved(lines=(), reason="a probe"))) == ()


def test_violations_are_sentences_that_say_what_to_do():
    asked = subject(ALPHA, BETA, run_timeout=1e9, only_binary=False, indexes=("default",), session="s", keep=1e6)
    text = (
        "[packages]\nallowed=[]\n[indexes]\ntrusted=[]\n[install]\nonly_binary=true\nmax_packages=0\n[run]\nmax_time=60"
    )
    for violation in check(read(text, "p"), asked):
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
    lambda packages, **values: subject(*packages.values(), **values),
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
    found = Policy()
    for name, value in values.items():
        section, _, key = name.partition(".")
        text = f"[{section}]\n{key} = {_toml(value)}"
        found |= Policy(frozenset(item for item in read(text, origin).statements if item.rule == name))
    return found


def _toml(value):
    return (
        str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | list) else f'"{value}"'
    )


def rules_of(policy, asked):
    return {(item.rule, item.package) for item in check(policy, asked)}


@given(one=POLICIES, two=POLICIES, asked=SUBJECTS)
def test_a_merge_refuses_all_that_each_part_refuses_in_any_order(one, two, asked):
    first, second = policy_of(one, "one"), policy_of(two, "two")
    assert first | second == second | first
    assert first | first == first
    assert rules_of(first | second, asked) >= rules_of(first, asked) | rules_of(second, asked)


@given(one=POLICIES, two=POLICIES, three=POLICIES)
def test_a_merge_does_not_depend_on_how_it_is_grouped(one, two, three):
    first, second, third = policy_of(one, "one"), policy_of(two, "two"), policy_of(three, "three")
    assert (first | second) | third == first | (second | third)


@given(values=POLICIES, asked=SUBJECTS, name=st.sampled_from(sorted(VALUES)), data=st.data())
def test_one_more_rule_never_allows_more(values, asked, name, data):
    more = policy_of({name: data.draw(VALUES[name])}, "more")
    assert rules_of(policy_of(values) | more, asked) >= rules_of(policy_of(values), asked)


@given(values=POLICIES, more=st.lists(LISTS, min_size=1))
def test_what_is_in_force_is_part_of_the_policy(values, more):
    policy = policy_of(values)
    for blocked in more:
        policy |= policy_of({"packages.blocked": blocked})
    for rule in RULES.values():
        assert set(rule.in_force(policy)) <= set(policy.statements)
        assert bool(rule.in_force(policy)) == bool(policy.of(rule.name))
