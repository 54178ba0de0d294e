"""The conformance kit itself: rules explain themselves and hide no other, the embedder is the same everywhere."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from openmem import AsyncMemory
from openmem._rules.understanding import LATER_ARGUMENTS
from openmem.testing import AsyncProviderSuite, HashEmbedder, ProviderSuite
from openmem.testing.bad_input import ARGUMENTS, VALID_CALLS
from openmem.testing.declared import ARGUMENTS_OF, VERBS_OF, Declared
from openmem.testing.later_calls import LATER_CALLS
from openmem.types import OWN_MEMBER, Capabilities

RULES = sorted(name for name in dir(AsyncProviderSuite) if name.startswith("test_"))


@pytest.mark.parametrize("name", RULES)
def test_rule_says_what_holds_and_where_to_look(name: str) -> None:
    text = inspect.getdoc(getattr(AsyncProviderSuite, name)) or ""
    rule, _, hint = text.partition("\n\n")
    assert rule.endswith(".")
    assert hint.startswith("If this fails, check ")


def test_both_forms_hold_the_same_rules() -> None:
    assert sorted(name for name in dir(ProviderSuite) if name.startswith("test_")) == RULES


def test_rules_of_different_files_do_not_hide_one_another() -> None:
    seen: dict[str, str] = {}
    for base in AsyncProviderSuite.__bases__:
        for name in vars(base).keys() - {"__module__", "__doc__", "__annotations__", "__parameters__"}:
            assert name not in seen, f"{name} stands in {seen.get(name)} and in {base.__name__}"
            seen[name] = base.__name__


def test_every_verb_and_argument_has_bad_input() -> None:
    for verb in VALID_CALLS:
        method = getattr(AsyncMemory, verb)
        taken = {p.name for p in inspect.signature(method).parameters.values() if p.kind is not p.VAR_KEYWORD}
        taken -= {"self", "timeout", "on_progress", "token_counter", "lines"}
        assert taken <= ARGUMENTS.get(verb, {}).keys(), verb


def test_every_later_argument_is_declared_and_tried() -> None:
    assert {argument for taken in ARGUMENTS_OF.values() for argument in taken} == LATER_ARGUMENTS
    assert LATER_CALLS.keys() == LATER_ARGUMENTS


def test_capabilities_that_say_too_much_or_too_little_are_noticed() -> None:
    class Plain(Declared):
        temporal = False
        history = False
        metadata = False

    arguments = sorted(LATER_ARGUMENTS - {"metadata", "metadata_patch"})
    verbs = ["add", "search", "get", "delete", "list", "context", *(VERBS_OF[n] for n in VERBS_OF if n != "history")]
    plain: dict[str, object] = {"omp_version": "0.1", "provider": "x", "verbs": verbs, "features": {"temporal": False}}
    plain[OWN_MEMBER] = {"arguments": arguments}
    said = Capabilities.model_validate(plain)
    assert Plain.disagreements(said) == []
    plain |= {"verbs": [*verbs[1:], "history"], "features": {"temporal": True}}
    said = Capabilities.model_validate({**plain, OWN_MEMBER: {"arguments": [*arguments[1:], "metadata"]}})
    assert Plain.disagreements(said) == [
        "features.temporal is True, declared False",
        "verbs lacks 'add'",
        "verbs lists 'history', declared absent",
        "arguments lacks 'by_key'",
        "arguments lists 'metadata', declared absent",
    ]


def test_rules_may_be_imported_before_anybody_asks_for_a_suite(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("import openmem.testing._async.rules\n")
    (tmp_path / "test_b.py").write_text("from openmem.testing import ProviderSuite\n\nassert ProviderSuite\n")
    strict = ["-W", "error::pytest.PytestAssertRewriteWarning"]
    command = [sys.executable, "-m", "pytest", *strict, "-p", "no:randomly", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "no tests ran" in done.stdout, done.stdout


def test_embedder_gives_the_same_vectors_in_every_process() -> None:
    program = "from openmem.testing import HashEmbedder; print(HashEmbedder(8).embed(['The green tea!'])[0])"
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] == f"{HashEmbedder(8).embed(['green TEA'])[0]}\n"


def test_embedder_knows_shared_words_only() -> None:
    embedder = HashEmbedder()
    assert embedder.similarity("likes green tea", "the green tea") > 0.6
    assert abs(embedder.similarity("likes green tea", "plays violin")) < 0.5
    [vector] = embedder.embed(["?"])
    assert len(vector) == embedder.dim == 64
    assert sum(value * value for value in vector) == pytest.approx(1)


def test_embedders_of_two_names_do_not_agree() -> None:
    one, two = HashEmbedder(), HashEmbedder(model="another")
    assert (one.model, two.model) == ("hash-64", "another")
    assert one.embed(["green tea"]) != two.embed(["green tea"])
