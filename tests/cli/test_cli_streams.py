"""Terminals, pipes, memory and permissions as they may be: one line, the right exit code, nothing lost."""

from __future__ import annotations

import functools
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from terminal import refusal, typed


def close_errors() -> None:
    os.close(2)


def errors_without_reader() -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(reader)


@pytest.mark.parametrize("first", [close_errors, errors_without_reader])
def test_a_training_outlives_the_reader_of_its_news(tmp_path: Path, tiny_settings: list[str], first) -> None:
    done = typed("train", *tiny_settings, "out=a", cwd=tmp_path, first=first)
    assert done.code == 0
    assert done.out.splitlines()[-3:][0].startswith("run     a")
    assert (tmp_path / "a" / "report.html").is_file()


def output_without_reader() -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)


def test_output_that_nobody_reads_ends_the_command_without_a_word(tmp_path: Path) -> None:
    assert typed("parts", cwd=tmp_path, first=output_without_reader) == (1, "", "")


def full_output() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_is_full(tmp_path: Path) -> None:
    assert "No space left on device" in refusal(typed("parts", "mixer", cwd=tmp_path, first=full_output))


def latin_terminal() -> None:
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="ascii", line_buffering=True)


def test_a_terminal_that_lacks_letters_gets_escapes(tiny_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run, tmp_path / "caf\u00e9 $x_"))
    done = typed("report", folder, cwd=tmp_path, first=latin_terminal)
    assert done.code == 0, done.err
    assert "caf\\xe9 $x_" in done.out


def test_a_name_that_is_not_utf_8(tmp_path: Path, tiny_settings: list[str]) -> None:
    out = os.fsdecode(b"out=r\xfcn $a^b_")
    done = typed("train", *tiny_settings, out, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    (folder,) = tmp_path.iterdir()
    assert (folder / "report.html").is_file()
    assert typed("evaluate", folder.name, "knn", cwd=tmp_path).code == 0


def half_a_gigabyte_more() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[5]) * 4096
    resource.setrlimit(resource.RLIMIT_DATA, (used + (1 << 29), resource.RLIM_INFINITY))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("setting", ["method.network.width=20000", "batch_size=128 method.network.width=256"])
def test_memory_that_is_not_there(tmp_path: Path, tiny_settings: list[str], setting: str) -> None:
    words = ["train", *tiny_settings, "out=a", *setting.split()]
    message = refusal(typed(*words, cwd=tmp_path, first=half_a_gigabyte_more))
    assert "latentmix: there is not enough memory" in message.splitlines()[-1]
    assert typed("train", *tiny_settings, "out=a", cwd=tmp_path).code == 0  # the folder is not blocked


INTERRUPT_AN_IMPORT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.meta_path.insert(0, Interrupt())
sys.argv = ["latentmix", "parts"]
from latentmix.cli import main
main()
"""


@pytest.mark.parametrize("name", ["cyclopts", "latentmix.config.catalogue"])
def test_an_interruption_while_loading(tmp_path: Path, name: str) -> None:
    code = INTERRUPT_AN_IMPORT.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "latentmix: interrupted\n")


def interrupted_metric() -> None:
    from latentmix.metrics import knn

    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    knn.accuracy = interrupted  # type: ignore[assignment]


def test_an_interruption_of_a_metric_keeps_the_scores_before(tiny_run: Path, tmp_path: Path) -> None:
    from latentmix import runs

    folder = Path(shutil.copytree(tiny_run, tmp_path / "tiny"))
    done = typed("evaluate", "tiny", "probe", "knn", cwd=tmp_path, first=interrupted_metric)
    assert done.code == 130
    assert done.err.splitlines()[-1] == "latentmix: interrupted"
    assert "probe" in runs.read_scores(folder)


def read_only() -> None:
    """Let no file of a run be written (root may write everywhere, so that permissions do not show it)."""
    from latentmix import atomic

    def refuse(contents: dict[Path, bytes]) -> None:
        raise PermissionError(13, "Permission denied", str(next(iter(contents))))

    atomic.write_together = refuse  # type: ignore[assignment]


def test_a_score_of_a_read_only_run_is_printed(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "tiny")
    done = typed("evaluate", "tiny", "knn", cwd=tmp_path, first=read_only)
    assert done.code == 0, done.err
    assert "knn_accuracy" in done.out
    assert "knn cannot be kept: [Errno 13] Permission denied" in done.err
    assert "report.html is not renewed" in done.err


def broken_metric() -> None:
    from latentmix.metrics import knn

    def broken(*_: object, **__: object) -> None:
        raise IndexError("index 3 is out of bounds")

    knn.accuracy = broken  # type: ignore[assignment]


def test_a_fault_of_a_metric_keeps_its_traceback_and_the_other_scores(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "tiny")
    done = typed("evaluate", "tiny", "knn", "probe", cwd=tmp_path, first=broken_metric)
    assert done.code == 1
    assert "Traceback" in done.err
    assert "IndexError: index 3 is out of bounds" in done.err
    assert "please report it with the command and all lines above" in done.err.splitlines()[-1]
    assert "offline_accuracy" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mix tiny a.png b.png --steps 2.9", "'2.9' is not a whole number"),
        ("mix tiny tiny/loop b.png", "tiny/loop: no such image file"),
        ("mix tiny a.png b.png --steps 1000000", "at most 2,000 are drawn"),
        ("mix tiny a.png b.png --steps 99999999999999999999", "is not a whole number"),
        ("evaluate tiny/loop", "is a link that leads nowhere"),
        ("report tiny/loop", "loop"),
        ("inspect tiny/loop", "loop"),
        ("evaluate tiny --seed -1", "Must be >= 0"),
        ("evaluate tiny knn.temperature=inf", "should be a finite number"),
        ("evaluate tiny probe.grid=[1,nan]", "should be a finite number"),
        ("evaluate tiny --data nowhere", "no data is named 'nowhere'"),
        ("explore tiny --port 99999", "Must be <= 65535"),
        ("explore tiny --port x", "'x' is not a whole number"),
        ("reproduce amr-table1 --plan --seeds 0", "Must be >= 1"),
    ],
)
def test_mistakes_on_the_command_line(spoilt_run: Path, words: str, said: str) -> None:
    (spoilt_run / "loop").symlink_to("loop")
    message = refusal(typed(*words.split(), cwd=spoilt_run.parent))
    assert said in " ".join(message.replace("│", " ").split())


NUMBERS = {
    "method.lamb=-1": "greater than or equal to 0",
    "method.lamb=1e9": "less than or equal to 1000000",
    "method.consistency=nan": "a finite number; got nan",
    "method.mixer.alpha=1e-320": "cannot be told from 0",
    "method.mixer.alpha=inf": "a finite number; got inf",
    "method.mixer.k=2.5": "fractional part",
    "method.network.width=0": "greater than or equal to 1",
    "method.network.d_h=99999999999999999999": "less than or equal to",
    "seed=010x": "unable to parse",
    "epochs=1:00": "unable to parse",
    "lr=-1": "greater than 0",
    "data=": "no data is named ''",
    "data={name: folder, path: ''}": "data.path: is empty",
    "out=~nobody-of-this-name/x": "out: ",
}


@pytest.mark.parametrize("setting", NUMBERS)
def test_numbers_that_make_no_sense(tmp_path: Path, tiny_settings: list[str], setting: str) -> None:
    message = refusal(typed("train", *tiny_settings, "method=amr", "out=a", setting, cwd=tmp_path))
    assert NUMBERS[setting] in message
    assert not list(tmp_path.iterdir())


def as_home(folder: Path) -> None:
    os.environ["HOME"] = str(folder)


def test_the_home_folder_is_not_a_folder_called_tilde(tmp_path: Path, tiny_settings: list[str]) -> None:
    (tmp_path / "home").mkdir()
    first = functools.partial(as_home, tmp_path / "home")
    done = typed("train", *tiny_settings, "out=~/a", cwd=tmp_path, first=first)
    assert done.code == 0, done.err
    assert (tmp_path / "home" / "a" / "config.yaml").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def settings_from_a_pipe() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"epochs: 2\nlr: 1\nseed: -3\n")
    os.close(writer)
    os.dup2(reader, 0)


def test_settings_are_read_from_a_pipe(tmp_path: Path) -> None:
    done = typed("train", "/dev/stdin", cwd=tmp_path, first=settings_from_a_pipe)
    assert "seed: Input should be greater than or equal to 0; got -3" in refusal(done)
