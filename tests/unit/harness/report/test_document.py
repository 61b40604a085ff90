from typing import get_args

from harness.report.document import Part, Section


def test_every_part_has_a_kind_of_its_own():
    kinds = [part.kind for part in get_args(Part)]
    assert len(set(kinds)) == len(kinds)


def test_a_section_is_no_subsection_unless_asked():
    assert Section("Title", []).level == 2
