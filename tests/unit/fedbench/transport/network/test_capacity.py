from __future__ import annotations

import resource

from fedbench.transport.network import capacity


def test_room_is_what_is_left_of_the_limit():
    assert capacity.room(1000, 100) == 1000 - 100 - capacity.SPARE_FDS
    assert capacity.room(100, 90) == 0
    assert capacity.room(resource.RLIM_INFINITY, 90) == 1 << 20


def test_the_soft_limit_is_raised_to_the_hard_one(monkeypatch):
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (50, 5000))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: raised.append(limits))
    assert 4000 < capacity.allow_descriptors() < 5000
    assert raised == [(5000, 5000)]
