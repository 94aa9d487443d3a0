import json
import re
import time
from dataclasses import replace

import pytest

from review.document import document
from review.escape import code, fence, inline, paragraph
from review.markdown import LIMIT, markdown
from review.model import (
    Effect,
    FileDiff,
    Inventory,
    PolicyResult,
    Reason,
    Refusal,
    Report,
    Verdict,
)
from review.terminal import terminal
from review.text import WIDTH
from tests.unit.review.samples import HOSTILE, each_guest, lab

DELETED = "its disk of generation 1 is deleted"
HEADS = ("--- h1:/etc/network/interfaces", "+++ h1:/etc/network/interfaces")
REMEDY = "keep the generation, or say why in the stack file:\nreasons:\n- allow: delete-disk\n  of: g1s1-g1"
LOSS = Effect(Verdict.DESTROYS, DELETED, "h1", "g1s1", "g1s1", "g1s1-g1", ("urn",))
SMALL = Report(
    stack="lab",
    effects=(
        Effect(Verdict.INTERRUPTS, "it is booted again", "h1", "g1s1", "g1s1"),
        LOSS,
        Effect(Verdict.SAFE, "its key is another", "h1", "g1s2", "g1s2"),
        Effect(Verdict.NOTHING, "", "h1", "g1s2", "g1s2"),
        Effect(Verdict.SAFE, "tcpdump is added", "h1"),
    ),
    diffs=(FileDiff("h1", "/etc/network/interfaces", (*HEADS, "-    bridge_fd 0", "+    bridge_fd 2")),),
    refusals=(
        Refusal("delete-disk", "g1s1-g1", "its disk would be deleted", REMEDY),
        Refusal("many-students", "12", "12 students are affected", "", "The term is over."),
    ),
    unused_reasons=(Reason("delete-disk", "g9s9-g1", "why not"),),
    policies=(
        PolicyResult("migration", "mandatory", ("h1: stp is true, wanted false",)),
        PolicyResult(
            "mac", "advisory", unjudged=("g1s2: mac is not known yet", "g1s1: mac is not known yet")
        ),
    ),
    before=lab(1, 2),
    after=lab(1, 2),
    notes=("No host was looked at.",),
)


def test_the_verdict_and_the_refusals_come_first() -> None:
    text = markdown(SMALL)
    assert text.startswith(
        "## What would change in stack <code>lab</code>\n\n"
        "**Verdict: destroys data**: guest g1s1 of student g1s1 on host h1\n\n"
        "- safe: host h1; guest g1s2 of student g1s2 on host h1\n\n"
        "**Refused** by the plan gate, policy <code>migration</code>.\n\n"
        "- **delete-disk** <code>g1s1-g1</code>: its disk would be deleted\n\n"
        "  To do: keep the generation, or say why in the stack file:\n\n"
        "  ```yaml\n  reasons:\n  - allow: delete-disk\n    of: g1s1-g1\n  ```\n"
    )
    assert "\n- **many-students** <code>12</code>: 12 students are affected<br>“The term is over.”\n" in text


def test_the_table_has_a_row_for_each_guest_and_host() -> None:
    host, one, two = "<code>h1</code>", "<code>g1s1</code>", "<code>g1s2</code>"
    rows = [line for line in markdown(SMALL).split("\n") if line.startswith("| <")]
    assert rows == [
        f"| {host} | {one} | {one} | **destroys data**: {DELETED}; it is booted again |",
        f"| {host} |  | (the host itself) | safe: tcpdump is added |",
        f"| {host} | {two} | {two} | safe: its key is another |",
    ]


def test_files_policies_picture_and_notes_are_there() -> None:
    text = markdown(SMALL)
    path = "<details><summary><code>/etc/network/interfaces</code></summary>"
    diff = "\n".join([*HEADS, "-    bridge_fd 0", "+    bridge_fd 2"])
    assert f"<code>h1</code>: tcpdump is added\n\n{path}\n\n```diff\n{diff}\n```\n\n</details>" in text
    assert (
        "- **migration** (mandatory) is broken:\n  - h1: stp is true, wanted false\n- 1 more rule asked"
        in text
    )
    assert "<summary>2 values cannot be judged until the host exists</summary>" in text
    assert "```mermaid\nflowchart LR\n" in text
    assert (
        "- No host was looked at.\n- A reason is given that nothing asks for: delete-disk of g9s9-g1." in text
    )


def test_nothing_is_said_of_nothing() -> None:
    nothing = "Verdict: nothing"
    assert markdown(Report("lab"), "What differs") == (
        f"## What differs in stack <code>lab</code>\n\n**{nothing}**: everything stays as it is\n"
    )
    assert terminal(Report("lab"), colour=False) == (
        f"What would change in stack lab\n{nothing}: everything stays as it is"
    )


def two_hundred(verdict: Verdict) -> Report:
    inventory = lab(10, 20)
    lines = (
        *HEADS,
        *(f"+    address 198.51.100.{n}/24 # a line of a file as hosts have them" for n in range(150)),
    )
    effects = each_guest(inventory, verdict, f"{DELETED} " * 3)
    return Report(
        "lab",
        (*effects, Effect(Verdict.NETWORK, "br0 takes over eth0", "h3")),
        tuple(FileDiff(host.name, "/etc/network/interfaces", lines) for host in inventory.hosts),
        tuple(
            Refusal(
                "delete-disk", e.subject, "the disk would be deleted", REMEDY.replace("g1s1-g1", e.subject)
            )
            for e in effects
        ),
        policies=(
            PolicyResult("mac", "mandatory", unjudged=tuple(f"{e.guest}: mac unknown" for e in effects)),
        ),
        before=inventory,
        after=inventory,
    )


@pytest.mark.parametrize("verdict", [Verdict.SAFE, Verdict.INTERRUPTS, Verdict.DESTROYS])
def test_two_hundred_guests_fit_with_every_red_row_and_every_refusal(verdict: Verdict) -> None:
    report = two_hundred(verdict)
    started = time.process_time()
    text = markdown(report)
    assert time.process_time() - started < 5
    assert len(text.encode()) <= LIMIT < 65_536
    assert "**Verdict: touches a host's own network**: host h3, with 20 guests of 20 students on it" in text
    for refusal in report.refusals:
        assert f"<code>{refusal.subject}</code>: the disk would be deleted" in text
    if verdict.red:
        assert text.count("| **destroys data**: ") == 200
    assert text.count("<details>") == text.count("</details>")
    assert "\n_Too long for a comment; left out: all file diffs" in text


def test_rows_that_are_not_red_are_folded_where_there_are_many() -> None:
    inventory = lab(1, 40)
    effects = (*each_guest(inventory, Verdict.SAFE, "its key is another"), LOSS)
    text = markdown(Report("lab", effects, before=inventory, after=inventory))
    seen, _, folded = text.partition("<details><summary>25 more, none of them red</summary>")
    assert (seen.count("\n| <code>"), folded.count("\n| <code>")) == (15, 25)
    assert "<details><summary>Picture of hosts, bridges and guests</summary>" in folded
    assert "left out" not in text


def test_a_thousand_destroyed_disks_fit_and_the_rest_is_counted() -> None:
    inventory = lab(25, 40)
    effects = each_guest(inventory, Verdict.DESTROYS, DELETED + HOSTILE)
    refusals = tuple(Refusal("delete-disk", e.subject, HOSTILE, HOSTILE) for e in effects)
    text = markdown(Report("lab", effects, refusals=refusals, before=inventory, after=inventory))
    assert len(text.encode()) <= LIMIT
    assert "**Verdict: destroys data**: 1000 guests (g1s1, g1s2, g1s3, …) of 1000 students" in text
    assert "- … and 980 more" in text


def hostile() -> Report:
    """Every text of it is HOSTILE."""
    one = HOSTILE
    host = replace(lab(1, 1).hosts[0], name=one, address=one, bridge=one, port=one, student=one)
    inventory = Inventory(
        one, (replace(host, guests=(replace(host.guests[0], name=one, host=one, student=one),)),)
    )
    return Report(
        one,
        (Effect(Verdict.DESTROYS, one, one, one, one, one, (one,)), Effect(Verdict.NETWORK, one, one)),
        (FileDiff(one, one, (one, "+```", "+````", "</details>")),),
        (Refusal(one, one, one, one), Refusal(one, one, one, one, one)),
        (Reason(one, one, one),),
        (PolicyResult(one, one, (one,), (one,)),),
        inventory,
        inventory,
        (one,),
    )


def outside_code(text: str) -> str:
    """The text without its blocks of code: each must be closed by a fence as long as its first."""
    left, fences = [], ""
    for line in text.split("\n"):
        ticks = re.match(r" *(`{3,})", line)
        if ticks and not fences:
            fences = ticks[1]
        elif line.strip() == fences and fences:
            fences = ""
        elif not fences:
            left.append(line)
    assert not fences
    return "\n".join(left)


def test_hostile_names_are_only_names() -> None:
    text = outside_code(markdown(hostile()))
    tags = re.findall(r"<[^>]*>", text)
    assert set(tags) == {"<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>", "<br>"}
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"(?<!&)#[0-9]", text)
    for taken in ("@octocat", "https://", "www.example", "](", "`", "$x$", "~~", "\x1b", "\u202e", '"'):
        assert taken not in text, taken
    for line in text.split("\n"):
        assert line.count("|") in {0, 5}, line
        assert not re.match(r"-{3}|# end", line)


def test_hostile_names_reach_no_terminal() -> None:
    for colour in (False, True):
        text = re.sub(r"\x1b\[[0-9;]*m", "", terminal(hostile(), colour=colour))
        assert all(character.isprintable() or character == "\n" for character in text)
    assert "\x1b" not in terminal(hostile(), colour=False)


SECRETS = (
    "-----BEGIN EC PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END EC PRIVATE KEY-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Bm9QZbq1XzGmZ0n3mM2S8QAXBd5kW3ZfBz3lJm1aX",
    "password: hunter2",
    "v1:VVC9p8Etc4U=:sIHGBv1S075X6YBWOvb9Z5yI9Swa",
    "qemu+ssh://root@h1/system?keyfile=/home/me/.ssh/id_ed25519",
)
PARTS = ("BEGIN", "b3BlbnNz", "AAAAC3", "hunter2", "VVC9p8", "id_ed25519")


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_of_any_field_is_in_any_form_of_the_report(secret: str) -> None:
    planted = re.sub(r"\A", secret + " ", HOSTILE)
    report = hostile()
    texts = {HOSTILE: planted}

    def plant(value: object) -> object:
        if isinstance(value, str):
            return texts.get(value, value)
        if isinstance(value, tuple):
            return tuple(map(plant, value))
        fields = getattr(value, "__dataclass_fields__", None)
        if fields is None or isinstance(value, Verdict):
            return value
        return type(value)(**{name: plant(getattr(value, name)) for name in fields})

    found = plant(report)
    assert isinstance(found, Report)
    for text in (markdown(found), terminal(found, colour=False), json.dumps(document(found))):
        for part in PARTS:
            assert part not in text


def test_the_document_is_json_with_the_verdict_in_words() -> None:
    found = document(SMALL)
    assert json.loads(json.dumps(found)) == found
    assert [found[key] for key in ("stack", "verdict", "red", "refused")] == [
        "lab",
        "destroys data",
        True,
        True,
    ]
    assert found["affected"][0] == {
        "host": "h1",
        "student": "g1s1",
        "guest": "g1s1",
        "verdict": "destroys data",
        "red": True,
        "sentences": [DELETED, "it is booted again"],
    }
    assert found["effects"][1] == {
        "host": "h1",
        "guest": "g1s1",
        "student": "g1s1",
        "verdict": "destroys data",
        "red": True,
        "sentence": DELETED,
        "subject": "g1s1-g1",
        "urns": ["urn"],
    }
    assert [one["refused"] for one in found["refusals"]] == [True, False]
    assert found["policies"][0]["violations"] == ["h1: stp is true, wanted false"]
    assert found["after"]["hosts"][0]["guests"][1]["name"] == "g1s2"
    assert document(Report("lab"))["before"] is None


def test_the_keys_of_the_document_are_those_described() -> None:
    described = document.__doc__ or ""
    found = document(SMALL)
    keys = {
        key
        for value in found.values()
        if isinstance(value, list)
        for each in value
        for key in each
        if isinstance(each, dict)
    }
    hosts = found["after"]["hosts"]
    for key in {*found, *keys, *hosts[0], *hosts[0]["guests"][0]}:
        assert re.search(rf"\b{key}\b", described), key


def test_a_terminal_is_told_the_same_in_eighty_columns() -> None:
    text = terminal(SMALL, colour=False)
    assert text.startswith(
        "What would change in stack lab\n"
        "Verdict: destroys data: guest g1s1 of student g1s1 on host h1\n"
        "  safe: host h1; guest g1s2 of student g1s2 on host h1\n\n"
        f"! h1, g1s1, student g1s1: destroys data\n    {DELETED}\n    it is booted again\n"
    )
    assert text.endswith(
        "! delete-disk g1s1-g1: refused\n"
        "  its disk would be deleted\n"
        "  to do: keep the generation, or say why in the stack file:\n"
        "         reasons:\n"
        "         - allow: delete-disk\n"
        "           of: g1s1-g1\n"
        "many-students 12: allowed, the stack file says why: The term is over.\n"
        "refused: nothing is changed"
    )
    assert "2 values cannot be judged until the host exists" in text
    assert max(map(len, text.split("\n"))) <= WIDTH
    assert "\x1b[31m-    bridge_fd 0\x1b[0m" in terminal(SMALL, colour=True)


def test_escaping() -> None:
    assert inline("a|b<c") == "a&#124;b&#60;c"
    assert inline("@octocat #12") == "@&#8203;octocat &#35;&#8203;12"
    assert paragraph("a:\n  b\n") == "a:<br>&nbsp;&nbsp;b"
    assert paragraph("a `<b>` c") == "a <code>&#60;b&#62;</code> c"
    assert paragraph("a `b` ` c") == "a &#96;b&#96; &#96; c"
    assert code("x" * 90) == f"<code>{'x' * 79}…</code>"
    assert list(fence("diff", ["+````", "a\rb"])) == ["`````diff", "+````", "a\\x0db", "`````"]
