"""Mail: looking again and again, until there is something or time is up."""

from __future__ import annotations

import pytest

from fedbench.messages import Kind, Message
from fedbench.polling.mailbox import Mailboxes


async def test_receiving_looks_until_there_is_something():
    class Late(Mailboxes):
        looks = 0

        def look(self, target, source):
            self.looks += 1
            if self.looks == 4:
                self.put(Message(Kind.DATA, "a", "b", body=1))
            return super().look(target, source)

    mail = Late()
    assert (await mail.receive("b", "a", 10.0, 0.0001)).body == 1
    assert mail.looks == 4


async def test_receiving_gives_up_and_names_both_ends():
    with pytest.raises(TimeoutError, match=r"b found nothing from a within 0\.002 s"):
        await Mailboxes().receive("b", "a", 0.002, 0.001)
