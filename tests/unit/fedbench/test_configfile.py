import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.configfile import Section, in_document_order, nearest, read_yaml, shown
from fedbench.errors import ConfigError, Problem

HUGE = 16**5000  # python refuses to print it
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def read(data, path="part"):
    problems = []
    return Section(data, path, problems), problems


def complaint(getter, value):
    """Return the path and message of the one problem that a getter has with a value, and what it returned."""
    section, problems = read({"key": value})
    result = getter(section)
    (problem,) = problems
    return problem.path, problem.message, result


# Files -----------------------------------------------------------------------------------------------------


def test_reads_yaml(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("a: [1, 2.5, 'x']\nb: {c: null}\nü: ß\n", encoding="utf-8")
    assert read_yaml(path) == {"a": [1, 2.5, "x"], "b": {"c": None}, "ü": "ß"}
    assert read_yaml(str(path)) == read_yaml(path)


def test_an_empty_file_is_nothing(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("# nothing\n")
    assert read_yaml(path) is None


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError) as raised:
        read_yaml(tmp_path / "no.yaml")
    assert raised.value.source == str(tmp_path / "no.yaml")
    assert raised.value.problems == [Problem("", "cannot be read: No such file or directory")]


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_path_that_is_none(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(f"{tmp_path}/{name}")


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"cannot be read: .*utf-8"):
        read_yaml(path)


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, 2",
        "a: b: c",
        "\t- x",
        "a: !!python/object:os.system {}",
        "a: 2024-13-45",
        "a: 0x_",
        "a: !!bool perhaps",
        "a: !!int ''",
        "a: !!timestamp soon",
        "? [a]\n: b",
        "a: \x01",
        "[" * 1000,
    ],
)
def test_broken_yaml_is_reported_on_one_line(tmp_path, text):
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_yaml(path)
    (problem,) = raised.value.problems
    assert problem.path == ""
    assert problem.message.startswith("is not YAML: ")
    assert "\n" not in problem.message


def test_broken_yaml_says_where(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("a: 1\nb: [1\n")
    with pytest.raises(ConfigError, match="line 3"):
        read_yaml(path)


# Words -----------------------------------------------------------------------------------------------------


def test_nearest_names_one_that_is_like_it_or_all():
    known = ("memory", "process", "network")
    assert nearest("memroy", known) == "; did you mean 'memory'?"
    assert nearest("xyz", known) == "; known: memory, network, process"
    assert nearest("xyz", ()) == "; known: none"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (2.5, "2.5"),
        (True, "True"),
        ([1], "a list"),
        (None, "nothing"),
        ("x" * 100, f"'{'x' * 59}…"),
    ],
)
def test_shown(value, text):
    assert shown(value) == text


@given(PLAIN)
def test_what_is_shown_is_short(value):
    assert len(shown(value)) <= 61


# Order -----------------------------------------------------------------------------------------------------


def test_problems_are_put_into_document_order():
    data = {"b": {"y": 1, "x": [0, {"z": 1}]}, "a": 1, 7: 2, "dotted.key": {"in": 1}, "bb": 1}
    paths = [
        "",
        "b",
        "b.y",
        "b.x[0]",
        "b.x[1]",
        "b.x[1].z",
        "b.x[1].missing",
        "b.missing",
        "a",
        "7",
        "dotted.key.in",
        "bb",
        "missing",
    ]
    problems = [Problem(path, "is wrong") for path in paths]
    assert in_document_order(problems[::-1], data) == problems


def test_problems_of_one_place_keep_their_order():
    problems = [Problem("a", "first"), Problem("a", "second"), Problem("a", "third")]
    assert in_document_order(problems, {"a": 1}) == problems


@given(st.lists(st.text("ab.[]01", max_size=6), max_size=5), PLAIN)
def test_any_path_has_a_place(paths, data):
    problems = [Problem(path, "") for path in paths]
    assert sorted(in_document_order(problems, data)) == sorted(problems)


# Sections --------------------------------------------------------------------------------------------------


def test_a_section_that_is_no_mapping():
    assert read([1])[1] == [Problem("part", "expected a mapping, found a list")]
    assert read("x")[1] == [Problem("part", "expected a mapping, found text ('x')")]
    assert read(None)[1] == [], "a key without a value is an empty section"
    assert read(None, "")[1] == [Problem("", "expected a mapping, found nothing")]


def test_has_names_and_value():
    section, problems = read({"a": 1, 2: None})
    assert section.has("a")
    assert not section.has("b")
    assert section.names() == ["a", "2"]
    assert section.value("a") == 1
    assert section.value("b") is None
    assert problems == []


def test_paths_of_sections_inside_sections():
    section, problems = read({"a": {"b": {"c": "x"}}}, "")
    section.section("a").section("b").integer("c", 0, least=0)
    section.section("a").section("b").problem("", "the whole")
    section.section("missing").problem("d", "one value")
    assert [problem.path for problem in problems] == ["a.b.c", "a.b", "missing.d"]


def test_finish_reports_what_nobody_asked_for():
    section, problems = read({"known": 1, "knwon": 2, 5: 3, "other": 4})
    section.value("known")
    section.finish()
    assert problems == [
        Problem("part.knwon", "unknown key; did you mean 'known'?"),
        Problem("part.5", "unknown key; known: known"),
        Problem("part.other", "unknown key; known: known"),
    ]


GETTERS = {
    "mapping": (lambda s: s.mapping("key"), {}, {"a": 1}),
    "string": (lambda s: s.string("key", "default"), "default", "text"),
    "name": (lambda s: s.name("key", "default"), "default", "client-1"),
    "choice": (lambda s: s.choice("key", ("one", "two"), "one"), "one", "two"),
    "integer": (lambda s: s.integer("key", 5, least=0), 5, 7),
    "number": (lambda s: s.number("key", 0.5, above=0.0), 0.5, 2.5),
    "boolean": (lambda s: s.boolean("key", default=True), True, False),
    "strings": (lambda s: s.strings("key", ("a",)), ("a",), ["b", "c"]),
    "strings or none": (lambda s: s.strings("key", None), None, ["b", "c"]),
}


@pytest.mark.parametrize(("getter", "default", "good"), GETTERS.values(), ids=GETTERS)
def test_every_getter_returns_what_is_there_or_its_default(getter, default, good):
    for data in ({}, {"key": None}):
        section, problems = read(data)
        assert getter(section) == default
        section.finish()
        assert problems == []
    section, problems = read({"key": good})
    assert getter(section) == (tuple(good) if isinstance(good, list) else good)
    section.finish()
    assert problems == []


@pytest.mark.parametrize("name", GETTERS)
@given(value=PLAIN)
def test_every_getter_takes_anything(name, value):
    getter, default, _ = GETTERS[name]
    section, problems = read({"key": value})
    result = getter(section)
    assert default is None or type(result) is type(default)
    assert len(problems) <= 3
    assert all(problem.path.startswith("part.key") and problem.message for problem in problems)


@pytest.mark.parametrize(
    ("name", "value", "message", "result"),
    [
        ("mapping", [1], "expected a mapping, found a list", {}),
        ("string", 5, "expected a text, found a number (5)", "default"),
        ("string", "", "expected a text, found text ('')", "default"),
        ("string", True, "expected a text, found true or false (True)", "default"),
        ("choice", "tow", "unknown value 'tow'; did you mean 'two'?", "one"),
        ("choice", 3, "unknown value 3; known: one, two", "one"),
        ("choice", [["one"]], "unknown value a list; known: one, two", "one"),
        ("integer", 2.0, "expected a whole number, found a number (2.0)", 0),
        ("integer", True, "expected a whole number, found true or false (True)", 0),
        ("integer", "7", "expected a whole number, found text ('7')", 0),
        ("integer", -1, "-1 is below 0", 0),
        ("number", "1", "expected a number, found text ('1')", 0.5),
        ("number", False, "expected a number, found true or false (False)", 0.5),
        ("number", 0, "0 is out of range: more than 0 is needed", 0.5),
        ("number", -0.5, "-0.5 is out of range: more than 0 is needed", 0.5),
        ("number", math.nan, "nan is out of range: more than 0 is needed", 0.5),
        ("number", math.inf, "inf is out of range: more than 0 is needed", 0.5),
        ("boolean", "yes", "expected true or false, found text ('yes')", True),
        ("boolean", 0, "expected true or false, found a number (0)", True),
        ("strings", "a", "expected a list of texts, found text ('a')", ("a",)),
        ("strings", {"a": 1}, "expected a list of texts, found a mapping", ("a",)),
    ],
)
def test_wrong_values_are_reported_and_replaced(name, value, message, result):
    assert complaint(GETTERS[name][0], value) == ("part.key", message, result)


def test_numbers_that_python_refuses_to_print_or_to_make_floats_of():
    assert shown(HUGE) == "a number of 20001 bits"
    assert complaint(GETTERS["integer"][0], -HUGE)[1] == "a number of 20001 bits is below 0"
    assert complaint(GETTERS["number"][0], HUGE)[1].startswith("a number of 20001 bits is out of range")
    assert complaint(GETTERS["choice"][0], HUGE)[1] == "unknown value a number of 20001 bits; known: one, two"


def test_a_list_of_texts_names_the_item_that_is_none():
    section, problems = read({"key": ["a", 1, "", "b", None]})
    section.strings("key", ())
    assert [str(problem) for problem in problems] == [
        "part.key[1]: expected a text, found a number (1)",
        "part.key[2]: expected a text, found text ('')",
        "part.key[4]: expected a text, found nothing",
    ]


def test_a_name_that_names_no_node():
    path, message, result = complaint(GETTERS["name"][0], "a b")
    assert path == "part.key"
    assert message.startswith("'a b' cannot name a node: ")
    assert result == "a b"


def test_an_integer_without_a_default_must_be_there():
    section, problems = read({})
    assert section.integer("key", None, least=1) == 1
    assert problems == [Problem("part.key", "is missing: give a whole number of at least 1")]


def test_bounds_belong_to_the_range_where_they_say_so():
    section, problems = read({"a": 1, "b": 9, "c": 1.0, "d": 5})
    assert section.integer("a", 5, least=1) == 1
    assert section.integer("b", 5, least=1, most=9) == 9
    assert section.number("c", 0.5, above=0.0, most=1.0) == 1.0
    number = section.number("d", 0.5, above=0.0, most=5.0)
    assert (number, type(number)) == (5.0, float)
    assert problems == []
    section.integer("b", 5, least=1, most=8)
    section.number("d", 0.5, above=0.0, most=1.0)
    assert [problem.message for problem in problems] == [
        "9 is above 8",
        "5 is out of range: more than 0 and at most 1 is needed",
    ]


def test_keys_of_a_mapping_become_text():
    section, _ = read({"key": {1: "a", "b": [2]}})
    assert section.mapping("key") == {"1": "a", "b": [2]}


def test_a_key_that_stands_twice_is_refused_with_its_place(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("seed: 1\nserver: {server_id: a}\nseed: 2\n")
    with pytest.raises(ConfigError, match=r"key 'seed' stands twice.*line 3"):
        read_yaml(path)


def test_merged_keys_may_be_overridden(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("base: &base {a: 1, b: 2}\nmine: {<<: *base, b: 3}\n")
    assert read_yaml(path)["mine"] == {"a": 1, "b": 3}
