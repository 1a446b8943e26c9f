"""Which signals ask a run to stop, and which are a second one."""

import signal

import pytest

from gan_cli.runs import signals
from gan_cli.runs.signals import stop_on_signal


def test_a_scheduler_may_send_the_same_signal_twice() -> None:
    """SLURM does, to the processes of a job that it preempts or cancels."""
    with stop_on_signal() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGUSR2)


def test_a_second_ctrl_c_stops_at_once() -> None:
    with stop_on_signal():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_same_signal_later_is_a_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SECONDS_OF_ONE", 0.0)
    with stop_on_signal():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
