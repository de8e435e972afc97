"""The client against a real server of ours: both modes, containers, and refusals."""

import asyncio
from typing import Any

import pytest

from appliance.client import ClientOptions, Transcript, open_stream
from appliance.errors import ApplianceError
from tests.conftest import Spoken
from tests.server.conftest import flags, server
from tests.server.running import Running, pcm, webm, word_errors

__all__ = ["flags", "server"]

pytestmark = pytest.mark.model


def heard(running: Running, data: bytes, **options: Any) -> Transcript:
    async def hear() -> Transcript:
        certificate = running.state_dir / "tls" / "ca.pem"
        async with open_stream(ClientOptions(running.asr, certificate=certificate, **options)) as stream:
            for start in range(0, len(data), 3200):
                await stream.feed(data[start : start + 3200])
            await stream.finish()
            async for _ in stream:
                pass
        return stream.transcript

    return asyncio.run(asyncio.wait_for(hear(), 60))


def test_both_modes_and_containers_say_the_same(server: Running, librivox: tuple[Spoken, ...]) -> None:
    spoken = librivox[0]
    diff, full = (heard(server, pcm(spoken.path), mode=mode, language="en", words=True) for mode in ("diff", "full"))
    for transcript in (diff, full, heard(server, webm(spoken.path), format="auto", language="en")):
        assert word_errors(spoken.transcript, transcript.committed) <= 2 and transcript.tentative == ""
    for transcript in (diff, full):
        (line,) = transcript.snapshot().lines
        assert "".join(word.text for word in line.words).strip() == line.text == transcript.committed
        assert transcript.received_s == pytest.approx(len(pcm(spoken.path)) / 32000)


def test_a_refusal_has_its_code(server: Running) -> None:
    with pytest.raises(ApplianceError) as told:
        heard(server, bytes(3200), language="tlh")
    assert told.value.code == "unsupported_language"
