"""Templates in values: what they become, what is refused, and that none can hang the process or fill its memory."""

import copy
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import RefusedError, ValidationError
from automation.templates import check, has_templates, render

CONTEXT: dict[str, Any] = {
    "trigger": {
        "type": "page.updated",
        "data": {
            "page": {"id": 7, "title": "l'été est là", "config": {"layout": "grid", "ratio": 1.5}},
            "items": [{"id": "b", "n": 2}, {"id": "A", "n": 1}, {"id": "b", "n": 2}],
            "tags": ["x", "Y", "x"],
            "numbers": [3, 1.5, 2],
            "draft": True,
            "note": None,
            "empty": [],
            "big": "x" * 100_000,
            "keys": "mine",
        },
    },
    "steps": {"save": {"result": {"version": 9}}},
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ trigger.type }}", "page.updated"),
        ("{{trigger.data.page.id}}", 7),
        ("{{ trigger['data'].page['id'] }}", 7),
        ("{{ trigger.data.page.config }}", {"layout": "grid", "ratio": 1.5}),
        ("{{ trigger.data.page.config.ratio }}", 1.5),
        ("{{ trigger.data.tags }}", ["x", "Y", "x"]),
        ("{{ trigger.data.draft }}", True),
        ("{{ trigger.data.note }}", None),
        ("{{ trigger.data.items }}", CONTEXT["trigger"]["data"]["items"]),
        ("{{ trigger.data.items.0.id }}", "b"),
        ("{{ trigger.data.items[-1].n }}", 2),
        ("{{ trigger.data.keys }}", "mine"),
        ("{{ trigger.data.tags[1:] }}", ["Y", "x"]),
        ("{{ trigger.type[:4] }}", "page"),
        ("{{ steps.save.result.version + 1 }}", 10),
        ("{{ 7 // 2 }}", 3),
        ("{{ 7 / 2 }}", 3.5),
        ("{{ 7 % 4 - 2 * -3 }}", 9),
        ("{{ 'a' + 'b' }}", "ab"),
        ("{{ [1] + [2] }}", [1, 2]),
        ("{{ 'v' ~ steps.save.result.version ~ none ~ true }}", "v9true"),
        ("{{ (1, 'a') }}", [1, "a"]),
        ("{{ {'a': {'b': trigger.data.page.id}} }}", {"a": {"b": 7}}),
        ("{{ trigger.data.draft and not trigger.data.note }}", True),
        ("{{ trigger.data.note or 'none' }}", "none"),
        ("{{ 'live' if not trigger.data.draft else 'draft' }}", "draft"),
        ("{{ 'live' if not trigger.data.draft }}", None),
        ("{{ 1 < trigger.data.page.id <= 7 }}", True),
        ("{{ 'grid' in trigger.data.page.config.layout and 'z' not in trigger.data.tags }}", True),
        ("{{ trigger.data.colour | default('red') }}", "red"),
        ("{{ trigger.data.colour.name.first | default('red') }}", "red"),
        ("{{ nothing | default }}", ""),
        ("{{ nothing | d(trigger.data.page.id) }}", 7),
        ("{{ trigger.data.note | default('n') }}", None),
        ("{{ trigger.data.note | default('n', boolean=true) }}", "n"),
        ("{{ trigger.data.colour is defined }}", False),
        ("{{ trigger.data.colour is not defined or trigger.data.colour == 'red' }}", True),
        ("{{ trigger.data.note is none and trigger.data.page is mapping }}", True),
        ("{{ trigger.data.tags is sequence and trigger.type is string and 1 is number }}", True),
        ("{{ true is number or 1 is boolean }}", False),
        ("{{ trigger.data.page.title | title }}", "L'été Est Là"),
        ("{{ ' A b ' | trim | lower | upper | capitalize }}", "A b"),
        ("{{ trigger.data.items | map(attribute='id') | unique | sort | join(', ') }}", "A, b"),
        ("{{ trigger.data.items | sort(attribute='n', reverse=true) | last }}", {"id": "A", "n": 1}),
        ("{{ trigger.data.tags | sort(case_sensitive=true) }}", ["Y", "x", "x"]),
        ("{{ trigger.data.tags | reverse | first }}", "x"),
        ("{{ trigger.data.tags | length + 'abc' | count }}", 6),
        ("{{ trigger.data.numbers | sum }}", 6.5),
        ("{{ [trigger.data.numbers | min, trigger.data.numbers | max] }}", [1.5, 3]),
        ("{{ '42' | int + '1.5' | float }}", 43.5),
        ("{{ 'x' | int(0) }}", 0),
        ("{{ '3.9' | int }}", 3),
        ("{{ -2.718 | round(2) | abs }}", 2.72),
        ("{{ 'a-b-c' | replace('-', '+', 1) }}", "a+b-c"),
        ("{{ 'a,b' | split(',') }}", ["a", "b"]),
        ("{{ trigger.data.page.config | list }}", ["layout", "ratio"]),
        ("{{ trigger.data.page.config | tojson }}", '{"layout": "grid", "ratio": 1.5}'),
        ("{{ 7 | string }}", "7"),
        ("{{ '}}' }}", "}}"),
        ("{{ '{{' }}", "{{"),
    ],
)
def test_a_lone_expression_becomes_its_value_with_its_type(template: str, value: Any) -> None:
    check(template, "config")
    made = render(template, CONTEXT)
    if isinstance(value, float):
        value = pytest.approx(value)
    assert made == value
    assert type(made) is (float if isinstance(made, float) else type(value))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (" {{ trigger.data.page.id }}", " 7"),
        ("{{ trigger.data.page.id }}\n", "7\n"),
        ("{{ trigger.data.page.id }}{{ trigger.data.page.id }}", "77"),
        ("[{{ trigger.data.note }}]", "[]"),
        ("{{ trigger.data.draft }}!", "true!"),
        ("r={{ trigger.data.page.config.ratio }}", "r=1.5"),
        ("c={{ trigger.data.page.config }}", 'c={"layout": "grid", "ratio": 1.5}'),
        ("t={{ trigger.data.tags }}", 't=["x", "Y", "x"]'),
        (
            "{% if x %}{# not a comment #}{{ trigger.type }}{% raw %}",
            "{% if x %}{# not a comment #}page.updated{% raw %}",
        ),
        ("été {{ trigger.data.page.title }} <b>", "été l'été est là <b>"),
    ],
)
def test_with_text_around_it_stays_a_text(template: str, text: str) -> None:
    check(template, "config")
    assert render(template, CONTEXT) == text


def test_a_value_keeps_its_shape_and_its_keys_are_no_templates() -> None:
    value = {"{{ a }}": [1, {"x": "{{ trigger.data.page.id }}"}], "y": None, "z": "plain {% %}"}
    assert render(value, CONTEXT) == {"{{ a }}": [1, {"x": 7}], "y": None, "z": "plain {% %}"}


def test_the_result_shares_nothing_with_the_context() -> None:
    context = copy.deepcopy(CONTEXT)
    made = render({"output": "{{ trigger.data }}"}, context)
    made["output"]["page"]["config"]["layout"] = "changed"
    made["output"]["tags"].append("z")
    assert context == CONTEXT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ a }}", True),
        ("{{", True),
        ([1, {"a": ["x {{ b }}"]}], True),
        ("{% a %} { { b } }", False),
        ({"{{ a }}": 1}, False),
        (None, False),
        (7, False),
    ],
)
def test_whether_a_value_has_templates(value: Any, expected: bool) -> None:
    assert has_templates(value) is expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ trigger.data.colour }}",
            "template {{ trigger.data.colour }}: 'colour' is not there in trigger.data",
        ),
        ("{{ tirgger.data }}", "template {{ tirgger.data }}: 'tirgger' is not there, only 'trigger', 'steps'"),
        ("a {{ trigger.data.page.size.width }}", "'size' is not there in trigger.data.page, only 'id', 'title'"),
        ("{{ trigger.type.name }}", "'name' is not there: trigger.type is a text"),
        ("{{ trigger.data.note.name }}", "'name' is not there: trigger.data.note is null"),
        ("{{ trigger.data.tags[3] }}", "3 is not there: trigger.data.tags has 3 members"),
        ("{{ trigger.data.empty | first }}", "the first of nothing is not there"),
        ("{{ trigger.data.items | map(attribute='x') }}", "'x' is not there in every member"),
        ("{{ nothing | upper }}", "'nothing' is not there"),
        ("{{ nothing is none }}", "'nothing' is not there"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'a' - 1 }}", "- computes with numbers, not with a text and a number"),
        ("{{ true + 1 }}", "+ computes with numbers, not with a boolean and a number"),
        ("{{ 'a' < 1 }}", "a text and a number cannot be compared"),
        ("{{ trigger.type | int }}", "the filter int cannot use a text"),
        ("{{ trigger.data | upper }}", "the filter upper cannot use an object"),
        ("{{ ['a', 1] | sort }}", "the filter sort cannot use a list"),
        ("{{ trigger.data.tags | sum }}", "the filter sum cannot use a list"),
        ("{{ {1: 2} }}", "a key of an object is a text, not a number"),
    ],
)
def test_a_template_that_makes_nothing_names_itself_the_place_and_the_fault(template: str, message: str) -> None:
    check(template, "config")
    with pytest.raises(ValidationError) as caught:
        render({"output": [0, {"colour": template}]}, CONTEXT)
    assert str(caught.value).startswith("output.1.colour: template ")
    assert message in str(caught.value)


def test_a_message_is_one_line_whatever_the_names_in_it_are() -> None:
    with pytest.raises(ValidationError) as caught:
        render({"a\nb": "{{ data\n['x\\n\\x1b'] }}"}, {"data": {"k\n\u202e" * 1000: 1}})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def deep(before: str, inside: str, after: str, times: int) -> str:
    return "{{ " + before * times + inside + after * times + " }}"


REFUSED = [
    "{{",
    "{{ }}",
    "{{ a",
    "{{ a b }}",
    "{{ a. }}",
    "{{ 'a }}",
    "{{ a | }}",
    "{{ trigger.items() }}",
    "{{ ''.join(['a']) }}",
    "{{ 'a'.format(b) }}",
    "{{ range(10) }}",
    "{{ lipsum() }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ trigger.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ __builtins__ }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 10 ** 9 }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ trigger | attr('__class__') }}",
    "{{ trigger | pprint }}",
    "{{ 'a' | indent(100000000) }}",
    "{{ 'a' | unknown }}",
    "{{ 1 is divisibleby 0 }}",
    "{{ 1 is unknown }}",
    "{{ 1 | round(1, 2, 3, 4) }}",
    "{{ 1 | round(digits=1) }}",
    "{{ [] | join(*a) }}",
    "{{ [] | join(**a) }}",
    "{{ [] | map('upper') }}",
    "{{ 99999999999999999999 }}",
    "{{ 1e999 }}",
    "{{ '\\0' }}",
    "{{ '\\ud800' }}",
    "\0{% for x in y %}{{ x }}\0{% endfor %}\0",
    "\0{% for x in y %}\0{{ x }}\0{% endfor %}\0",
    "{{ a }}" + "x" * 4096,
    deep("(", "1", ")", 1500),
    deep("[", "1", "]", 1500),
    deep("-", "1", "", 3000),
    deep("not ", "1", "", 900),
    deep("", "a", ".b", 1500),
    deep("", "a", "|list", 700),
    deep("", "1", "+1", 1500),
    deep("", "a", "~a", 1500),
    deep("", "a", "[a", 1000),
    deep("a if a else ", "a", "", 300),
    "{{ 'x' }}" * 400,
]


@pytest.mark.parametrize("template", REFUSED)
def test_what_is_not_allowed_is_refused_when_it_is_saved_and_never_rendered(template: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check({"steps": [{"text": "fine {{ a }}"}, {"text": template}]}, "config")
    assert caught.value.field == "config.steps.1.text"
    assert str(caught.value).isprintable()
    with pytest.raises(ValidationError):
        render(template, CONTEXT)


def ends(work: Callable[[], object]) -> bool:
    """Whether `work` comes to an end in a time that only something that hangs would need."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()


BIG = "trigger.data.big"


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 9223372036854775807 * 9223372036854775807 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ 1e308 * 10 }}",
        "{{ 1e308 | int }}",
        "{{ '9' * 10 }}",
        "{{ '99999999999999999999' | int }}",
        "{{ 'inf' | float }}",
        "{{ 1 | round(-1000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        f"{{{{ {BIG} | replace('x', {BIG}) }}}}",
        f"{{{{ {BIG} | replace('', {BIG}) }}}}",
        f"{{{{ {BIG} | list | join({BIG}) }}}}",
        f"{{{{ {' + '.join([BIG] * 12)} }}}}",
        f"{{{{ {' ~ '.join([BIG] * 12)} }}}}",
        f"{{{{ [{', '.join([BIG] * 90)}] }}}}",
        f"{{{{ [{', '.join([BIG] * 90)}] | tojson }}}}",
        f"{{{{ [{', '.join([BIG] * 90)}] | tojson | length }}}}",
        f"{{{{ [{', '.join([BIG] * 90)}] == [{', '.join([BIG] * 1)}] }}}}",
        "x" + f"{{{{ {BIG} }}}}" * 12,
        "{{ " + BIG + " | replace('x', 'xxxxxxxxxx') | replace('x', 'xxxxxxxxxx') }}",
    ],
)
def test_a_hostile_template_ends_as_an_error_before_it_takes_time_or_memory(template: str) -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            check(template, "config")
            render(template, CONTEXT)
        except (RefusedError, ValidationError) as error:
            raised.append(error)

    assert ends(work)
    assert raised


def test_many_templates_of_one_value_share_one_allowance() -> None:
    assert len(render(["{{ trigger.data.big }}"] * 30, CONTEXT)) == 30
    with pytest.raises(ValidationError, match="read and make more than"):
        render(["{{ trigger.data.big }}"] * 300, CONTEXT)


def test_values_that_nest_deeper_than_python_recurses_are_an_error() -> None:
    data: Any = "{{ a }}"
    for _ in range(100_000):
        data = [data]
    with pytest.raises(ValidationError, match="nests too deeply"):
        render(data, {"a": 1})
    with pytest.raises(ValidationError, match="nests too deeply"):
        render("{{ a }}", {"a": data})
    with pytest.raises(RefusedError, match="nests too deeply"):
        check(data, "config")


def test_only_values_of_json_come_out() -> None:
    with pytest.raises(ValidationError, match="makes a object, which is not JSON"):
        render("{{ a }}", {"a": object()})


# --- properties ------------------------------------------------------------------------------------------------------

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
words = """
    {{ }} a b.c b.c.0 'x' "y" 1 2.5 0 + - * / // % ~ | . , ( ) [ ] { } : default length join replace int tojson sort
    first is defined not in and or if else == < none true {% %} {# #} raw
"""
pieces = st.sampled_from([*words.split(), "\0{%", "%}\0", "\n"])


@given(values)
def test_a_value_without_templates_is_rendered_as_itself(value: Any) -> None:
    if not has_templates(value):
        assert render(value, CONTEXT) == value


@given(values)
def test_a_reference_gives_back_any_value_as_it_is(value: Any) -> None:
    made = render({"x": "{{ a.b }}"}, {"a": {"b": value}})["x"]
    assert json.dumps(made) == json.dumps(value)


@given(st.lists(pieces, max_size=12).map(lambda words: "{{ " + " ".join(words) + " }}"), values)
def test_any_template_is_refused_or_rendered_to_json(template: str, value: Any) -> None:
    context = {"a": value, "b": {"c": [value]}}
    try:
        check(template, "config")
        made = render(template, context)
    except (RefusedError, ValidationError):
        return
    json.dumps(made, allow_nan=False)
