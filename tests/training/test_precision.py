"""The choice of precision: by what the processor or the GPU can do."""

from __future__ import annotations

import pytest
import torch

from latentmix.training import precision


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch):
    """Sets the processor's instructions."""
    return lambda *names: monkeypatch.setattr(precision, "_processor_flags", lambda: frozenset(names))


@pytest.mark.parametrize(
    ("names", "chosen", "why"),
    [
        (("avx2", "avx512f", "avx512_bf16"), "bf16", "AVX512-BF16"),
        (("avx2", "amx_bf16", "amx_tile"), "bf16", "AMX"),
        (("avx2", "avx512f"), "fp32", "neither AVX512-BF16 nor AMX"),
        ((), "fp32", "neither"),
    ],
)
def test_auto_asks_the_processor(flags, names, chosen, why) -> None:
    flags(*names)
    found, reason = precision.choose("auto", "cpu")
    assert found == chosen
    assert why in reason


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_auto_asks_what_convolutions_may_use(flags, monkeypatch, name: str) -> None:
    flags("avx2", "avx512f", "avx512_bf16")
    monkeypatch.setenv(name, "AVX2")
    reason = f"{name}=AVX2 allows no bfloat16 instructions"
    assert precision.choose("auto", "cpu") == ("fp32", reason)
    assert reason in (precision.warning("bf16", "cpu") or "")
    monkeypatch.setenv(name, "AVX512_CORE_BF16")
    assert precision.choose("auto", "cpu")[0] == "bf16"


def test_what_was_asked_for_is_kept_and_warned_of_where_it_is_slow(flags) -> None:
    flags("avx2")
    assert precision.choose("bf16", "cpu") == ("bf16", "precision=bf16 was asked for")
    text = precision.warning("bf16", "cpu")
    assert text is not None
    assert "10 times as long" in text
    assert "\n" not in text
    assert precision.warning("fp32", "cpu") is None
    flags("avx512_bf16")
    assert precision.warning("bf16", "cpu") is None
    assert precision.choose("fp32", "cpu")[0] == "fp32"


@pytest.mark.parametrize("able", [True, False])
def test_auto_asks_the_gpu(able, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    assert precision.choose("auto", "cuda:1")[0] == ("bf16" if able else "fp32")
    assert precision.warning("bf16", "cuda") is None
    assert precision.choose("auto", "mps")[0] == "fp32"


def test_other_words_are_refused() -> None:
    with pytest.raises(ValueError, match="auto, fp32, bf16"):
        precision.choose("fp16", "cpu")


def test_the_real_processor_is_read(monkeypatch) -> None:
    precision._processor_flags.cache_clear()
    found = precision._processor_flags()
    monkeypatch.setattr(precision.Path, "read_text", lambda self: (_ for _ in ()).throw(OSError()))
    precision._processor_flags.cache_clear()
    by_torch = precision._processor_flags()
    precision._processor_flags.cache_clear()
    assert ("avx512_bf16" in found) == ("avx512_bf16" in by_torch)
