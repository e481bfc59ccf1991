"""Several devices and several processes make the same signal as one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mrisim.errors import SpecError
from mrisim.simulate import hosts

SCRIPT = textwrap.dedent("""
    import sys
    import numpy as np
    import mrisim as mr
    from mrisim.errors import ResourceError
    from mrisim.simulate import hosts

    if len(sys.argv) > 2:
        hosts.join(sys.argv[2])
    generator = np.random.default_rng(5)
    position = generator.uniform(-0.1, 0.1, (1000, 3)) * [1, 1, 0.01]
    phantom = mr.Phantom.from_arrays(position=position, t1=1.0, t2=0.1, df=generator.normal(0, 20, 1000))
    seq = mr.load_sequence("spin_echo", matrix="[16, 16]", TE="20 ms", TR="100 ms")

    def die(done, total):
        import os
        if done == 2:
            os._exit(9)

    dies = len(sys.argv) > 3 and hosts.jax.process_index() == 1
    try:
        raw = mr.simulate(seq, phantom, memory=700_000, progress=die if dies else False)
    except ResourceError as error:
        print(error, flush=True)
        hosts.leave(2)
    np.save(sys.argv[1], raw.signal)
""")


def command(out, *arguments: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(out), *arguments]


def together(*commands: list[str]) -> list[tuple[int, str]]:
    processes = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    said = [process.communicate(timeout=240) for process in processes]
    return [(process.returncode, out + error) for process, (out, error) in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "signal.npy"
    subprocess.run(command(out), check=True)
    return np.load(out)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_devices_make_the_same_signal(tmp_path, alone):
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run(command(tmp_path / "two.npy"), check=True, env=environment)
    assert np.array_equal(np.load(tmp_path / "two.npy"), alone)  # the same chunks in the same order


@pytest.mark.slow
def test_two_processes_make_the_same_signal(tmp_path, alone):
    port = free_port()
    files = [tmp_path / f"{rank}.npy" for rank in (0, 1)]
    done = together(*(command(f, f"127.0.0.1:{port}/2/{rank}") for rank, f in enumerate(files)))
    assert [code for code, _ in done] == [0, 0], done
    for file in files:  # both have the whole sum, in another order than one process
        assert np.linalg.norm(np.load(file) - alone) < 1e-6 * np.linalg.norm(alone)


@pytest.mark.slow
def test_a_dead_peer_ends_in_one_message(tmp_path):
    port = free_port()
    done = together(*(command(tmp_path / "x.npy", f"127.0.0.1:{port}/2/{rank}", "dies") for rank in (0, 1)))
    code, said = done[0]
    assert code == 2, said
    assert "hosts: must all finish, but one of 2 processes is gone" in said
    assert "Start them again with --resume." in said


@pytest.mark.parametrize("text", ["", "node", "node:1", "node:1/2/2", "node:x/2/0"])
def test_another_text_is_refused(text):
    with pytest.raises(SpecError, match="must be auto or COORDINATOR:PORT/PROCESSES/RANK"):
        hosts.join(text)
