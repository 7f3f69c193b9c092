"""The page as a file: nothing from outside, nothing of this machine in it, refused where it is too large."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re

import pytest
from untrained_run import untrained

from latentmix.apps.page.graph import NoPage
from latentmix.apps.page.page import MOST, build


@pytest.fixture(scope="module")
def page(digits_run, digits) -> str:
    return build(digits_run, digits)


def words(page: str) -> dict:
    return json.loads(re.search(r'id="model-data">(.*?)</script>', page, re.S)[1])


def test_the_page_is_small_and_names_no_address(page) -> None:
    assert len(page.encode()) < MOST
    assert not re.search(r"https?://", page)
    assert not re.search(r"\b(src|srcset|action)=", page)
    assert re.findall(r'href="([^"]*)"', page) == ["data:,"]


def test_the_policy_allows_this_script_and_style_and_nothing_else(page) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src" not in policy
    for kind, tag in (("script", "<script>(.*?)</script>"), ("style", "<style>(.*?)</style>")):
        (content,) = re.findall(tag, page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_the_page_says_how_many_training_images_it_holds(page, digits) -> None:
    found = words(page)
    assert found["training"]["count"] == found["training"]["of"] == len(digits.train) == 128
    assert "128 of 128: all." in re.sub(r"\s+", " ", page)
    assert len(found["gallery"]["rows"]) == 12


def test_the_same_run_gives_the_same_page(page, digits_run, digits) -> None:
    assert build(digits_run, digits) == page


def test_no_path_of_this_machine_is_in_the_page(page, digits_run) -> None:
    assert str(digits_run.folder.parent) not in page


def test_names_of_people_cannot_break_out_of_the_page(digits_run, digits) -> None:
    names = tuple(f"</script><script>alert({i})</script>" for i in range(10))
    odd = build(digits_run, dataclasses.replace(digits, name="<img src=x>", class_names=names))
    assert odd.count("<script") == 3
    assert "<img" not in odd
    assert words(odd)["gallery"]["names"][0].startswith("</script>")


def test_a_model_too_large_for_a_page_is_referred_to_explore(tmp_path, digits) -> None:
    large = untrained(
        tmp_path / "large", (1, 16, 16), name="autoencoder", network={"name": "mlp", "width": 1600}
    )
    with pytest.raises(NoPage, match=r"million weights, too many for a page of 8 MB; use: latentmix explore"):
        build(large, digits)


def test_images_that_a_screen_cannot_show_are_refused(tmp_path, digits) -> None:
    five = untrained(tmp_path, (5, 16, 16), name="autoencoder")
    with pytest.raises(ValueError, match="1 or 3 channels"):
        build(five, digits)
