"""What a training does with the memory of this machine."""

from __future__ import annotations

import ctypes

import pytest

from latentmix.training import device


@pytest.mark.parametrize(
    ("shape", "threshold"),
    [((), 1 << 30), ((3, 127, 128), 1 << 30), ((1, 128, 128), 1 << 22), ((3, 256, 256), 1 << 22)],
)
def test_large_blocks_are_returned_where_images_are_large(monkeypatch, shape, threshold) -> None:
    asked = {}

    class Library:
        def __init__(self, name: object) -> None: ...

        def mallopt(self, option: int, value: int) -> None:
            asked[option] = value

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(device.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(device.sys, "platform", "linux")
    device.keep_freed_memory(shape)
    assert asked == {-3: threshold, -1: 1 << 30}
