"""The client against a real server of ours: both modes, containers, and refusals."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

from appliance.client import ClientOptions, Transcript, open_stream
from appliance.errors import ApplianceError
from tests.conftest import Spoken
from tests.server.relay import relayed
from tests.server.running import Running, pcm, webm, word_errors

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


@pytest.mark.parametrize("form", ["s16le", "auto"])
def test_a_network_that_breaks_again_and_again_costs_no_word(
    server: Running, librivox: tuple[Spoken, ...], form: Literal["s16le", "auto"]
) -> None:
    data = pcm(librivox[1].path) if form == "s16le" else webm(librivox[1].path)

    async def hear(port: int, cut: Callable[[], None]) -> Transcript:
        options = ClientOptions(
            f"wss://127.0.0.1:{port}/asr",
            certificate=server.state_dir / "tls" / "ca.pem",
            format=form,
            language="en",
            words=True,
        )
        async with open_stream(options) as stream:
            committed: list[str] = []
            for number, start in enumerate(range(0, len(data), size := len(data) // 40)):
                await stream.feed(data[start : start + size])
                await asyncio.sleep(0.05)
                if number % 10 == 7:
                    committed.append(stream.transcript.committed)
                    await asyncio.to_thread(cut)
            await stream.finish()
            async for _ in stream:
                pass
        assert all(stream.transcript.committed.startswith(before) for before in committed)
        return stream.transcript

    logged = len(server.lines)
    with relayed(server.port) as relay:
        transcript = asyncio.run(asyncio.wait_for(hear(relay.port, relay.cut), 120))
    assert word_errors(librivox[1].transcript, transcript.committed) <= 4
    starts = [word.start_s for line in transcript.snapshot().lines for word in line.words]
    assert starts == sorted(starts) and len(starts) > 5
    assert "came back" in "".join(server.lines[logged:])
