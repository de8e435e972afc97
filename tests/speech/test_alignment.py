import torch

from appliance.speech.alignment import AttendedFrames


def peak(frame: int, frames: int = 60, width: int = 4) -> torch.Tensor:
    """Attention ``[2, 1, frames]`` of two heads around one frame."""
    at = torch.arange(frames).float()
    return torch.softmax(-(((at - frame) / width) ** 2), -1).expand(2, 1, -1).clone()


def prompt(content_frames: int = 60, frames: int = 60) -> AttendedFrames:
    """As after the forced tokens of a pass, which attend to nothing in particular."""
    attended = AttendedFrames(content_frames)
    noise = torch.rand(2, 4, frames, generator=torch.Generator().manual_seed(3))
    attended.push((noise + 1).softmax(-1))
    return attended


def test_follows_the_attention_of_each_token() -> None:
    attended = prompt()
    for frame in (10, 20, 33, 50):
        [found] = attended.push(peak(frame))
        assert abs(found - frame) <= 3


def test_several_tokens_at_once_get_a_frame_each() -> None:
    wanted = (10, 20, 33, 50)
    found = prompt().push(torch.cat([peak(frame) for frame in wanted], 1), newest=4)
    assert len(found) == 4
    assert all(abs(one - other) <= 3 for one, other in zip(found, wanted, strict=True))


def test_padding_never_counts() -> None:
    attended = prompt(content_frames=30)
    attended.push(peak(10))
    assert attended.push(peak(50))[0] < 30


def test_a_frame_that_every_token_attends_to_is_normalised_away() -> None:
    attended = prompt()
    sink = 5 * peak(2, width=2)
    for frame in range(10, 50, 4):
        [last] = attended.push(peak(frame) + sink)
    assert abs(last - 46) <= 3


def test_a_spike_of_one_frame_is_filtered() -> None:
    attended = AttendedFrames(60)
    row = peak(40, width=6)
    row[:, :, 5] = 1.0
    assert abs(attended.push(row)[0] - 40) <= 2


def test_a_window_shorter_than_the_filter() -> None:
    attended = AttendedFrames(2)
    assert attended.push(peak(1, frames=2))[0] in (0, 1)
