"""No secret that was planted anywhere in a state is left in what a preview without secrets is made from."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from typing import Any

import pytest

from lab.stripped_state import PLACEHOLDER, stripped
from providers.ssh_host_key import SshHostKeyProvider
from review.hidden import SIGNATURE, SIGNATURE_OF_SECRET

PLANTED = "c0rrect-horse"
PEM = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PLANTED}\n-----END OPENSSH PRIVATE KEY-----\n"
URN = "urn:pulumi:lab::kvm-lab::kvm:index:Guest$pulumi-python:dynamic/kvm:SshHostKey::web"
ENCRYPTED = {SIGNATURE: SIGNATURE_OF_SECRET, "ciphertext": f"v1:{PLANTED}"}
SHOWN = {SIGNATURE: SIGNATURE_OF_SECRET, "plaintext": json.dumps({"deep": PLANTED})}
KEPT = {"urn": URN, "custom": True, "id": "ssh-ed25519 AAAA", "outputs": {"public_key": "ssh-ed25519 AAAA"}}


def export(**changes: object) -> dict[str, Any]:
    resource = {**copy.deepcopy(KEPT), **changes}
    return {
        "version": 3,
        "deployment": {
            "manifest": {"version": "v3.220.0"},
            "secrets_providers": {"type": "passphrase", "state": {"salt": f"v1:{PLANTED}"}},
            "resources": [resource],
        },
    }


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param({"outputs": {"anything": ENCRYPTED}}, id="encrypted"),
        pytest.param({"outputs": {"anything": SHOWN}}, id="shown"),
        pytest.param({"inputs": {"list": [{"of": [ENCRYPTED, SHOWN]}]}}, id="deep in lists"),
        pytest.param({"outputs": {"private_key": PLANTED}}, id="private key, not marked"),
        pytest.param({"inputs": {"userData": f"#cloud-config\n{PLANTED}"}}, id="cloud-init, not marked"),
        pytest.param({"inputs": {"user_data": {"files": [PLANTED]}}}, id="cloud-init as an object"),
        pytest.param({"inputs": {"rootPassword": PLANTED}}, id="another spelling of a known key"),
        pytest.param({"additionalSecretOutputs": [f"{PLANTED}!"]}, id="where only names should be"),
        pytest.param({"outputs": {"note": f"see\n{PEM}"}}, id="private key in a text"),
        pytest.param({"inputs": {"wifi": {"psk": PLANTED}}}, id="pre-shared key"),
        pytest.param({"inputs": {"gatewaypsk": PLANTED}}, id="another pre-shared key"),
        pytest.param({"inputs": {"line": f"wpa-psk {PLANTED}"}}, id="pre-shared key in a text"),
        pytest.param({"inputs": {"hash": f"$6$salt${PLANTED}"}}, id="hash of a password"),
        pytest.param({"outputs": {"shadow": [f"s:$y$j9T$salt${PLANTED}:1::"]}}, id="yescrypt in a list"),
        pytest.param({"inputs": {"proxy": f"http://me:{PLANTED}@proxy:3128/"}}, id="password in a URL"),
        pytest.param({"inputs": {"proxy": f"redis://:{PLANTED}@cache/"}}, id="without a user"),
        pytest.param({"inputs": {"source": f"https://{PLANTED}@example.org/a"}}, id="token in a URL"),
        pytest.param({"inputs": {"source": f"https://s3/a?X-Amz-Signature={PLANTED}"}}, id="signed URL"),
        pytest.param({"inputs": {"command": f"echo root:{PLANTED} | chpasswd"}}, id="chpasswd"),
        pytest.param({"initErrors": [f"wrote {PEM}"]}, id="private key in an error"),
    ],
)
def test_a_planted_secret_is_replaced_wherever_it_is(planted: dict[str, Any]) -> None:
    assert PLANTED in json.dumps(planted)
    told = json.dumps(stripped(export(**planted)))
    assert PLANTED not in told
    assert PLACEHOLDER in told
    assert SIGNATURE not in told  # the engine cannot import a marked secret without a passphrase


@pytest.mark.parametrize("section", ["secrets_providers", "secretsProvider"])
def test_the_section_on_encryption_goes(section: str) -> None:
    state = export()
    state["deployment"][section] = state["deployment"].pop("secrets_providers")
    assert stripped(state)["deployment"] == {"manifest": {"version": "v3.220.0"}, "resources": [KEPT]}


def test_a_pending_operation_is_stripped_too() -> None:
    state = export()
    resource = {**KEPT, "inputs": {"token": PLANTED}}
    state["deployment"]["pending_operations"] = [{"resource": resource, "type": "creating"}]
    pending = stripped(state)["deployment"]["pending_operations"]
    assert pending == [{"resource": {**KEPT, "inputs": {"token": PLACEHOLDER}}, "type": "creating"}]


def test_what_is_no_secret_stays_as_it_is() -> None:
    asset = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "hello"}
    names = {
        "propertyDependencies": {"userData": [URN], "name": []},
        "additionalSecretOutputs": ["private_key"],
    }
    inputs = {
        "coreosIgnition": "",
        "ssh_keys": ["ssh-ed25519 AAAA"],
        "token": None,
        "size": 3.0,
        "uri": "qemu+ssh://root@h1:22/system?keyfile=/home/me/id&host_keys=ssh-ed25519+AAAA",
        "provider": "urn:pulumi:lab::kvm-lab::random:index/randomPassword:RandomPassword::token",
        "image": "https://cloud.debian.org/images/a.qcow2",
        "asset": asset,
    }
    state = export(inputs=inputs, **names)
    assert stripped(state)["deployment"]["resources"] == [{**KEPT, "inputs": inputs, **names}]


def test_the_given_export_is_left_alone_and_stripping_twice_changes_nothing() -> None:
    state = export(outputs={"private_key": ENCRYPTED})
    before = copy.deepcopy(state)
    once = stripped(state)
    assert state == before
    assert stripped(once) == once


class Keeper:
    """A provider that has state, and so a pickle with more in it than its name."""

    def __init__(self) -> None:
        self.kept = PLANTED


def pickled(provider: object) -> str:
    return base64.b64encode(pickle.dumps(provider, protocol=4)).decode()


def provider_of(envelope: object) -> object:
    return stripped(export(inputs={"__provider": envelope}))["deployment"]["resources"][0]["inputs"][
        "__provider"
    ]


def test_which_class_a_dynamic_provider_is_stays() -> None:
    reference = pickled(SshHostKeyProvider())
    assert provider_of({SIGNATURE: SIGNATURE_OF_SECRET, "plaintext": json.dumps(reference)}) == reference
    assert provider_of(reference) == reference  # of a state that was stripped before


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(pickled(Keeper()), id="one with state"),
        pytest.param(pickled(f"{PLANTED} {PLANTED}"), id="no class"),
        pytest.param(PLANTED, id="no base64"),
        pytest.param(base64.b64encode(PLANTED.encode()).decode(), id="no pickle"),
        pytest.param("", id="nothing"),
        pytest.param([PLANTED], id="no text"),
    ],
)
def test_any_other_provider_is_stripped(text: object) -> None:
    assert provider_of({SIGNATURE: SIGNATURE_OF_SECRET, "plaintext": json.dumps(text)}) == PLACEHOLDER


def test_a_provider_that_is_encrypted_is_stripped() -> None:
    assert provider_of(ENCRYPTED) == PLACEHOLDER
