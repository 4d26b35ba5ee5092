"""Docker's restart policies, as a decision. Pure (moby, restartmanager)."""

from weft.container.spec import RestartPolicy

_FIRST_DELAY, _MAX_DELAY, _GOOD_RUN = 0.1, 60.0, 10.0


def should_restart(policy: RestartPolicy, exit_code: int, restarts: int, *, manually_stopped: bool) -> bool:
    """Whether a container that has just ended is to be started again."""
    if manually_stopped or policy.name == "no":
        return False
    if policy.name == "on-failure":
        return exit_code != 0 and (policy.maximum_retries == 0 or restarts < policy.maximum_retries)
    return True


def should_start_at_boot(policy: RestartPolicy, exit_code: int, *, manually_stopped: bool) -> bool:
    """Whether a container that ended while Weft was away is to be started now: `always` even if a user stopped it."""
    return policy.name == "always" or should_restart(policy, exit_code, 0, manually_stopped=manually_stopped)


def next_delay(previous: float, ran_for: float) -> float:
    """Seconds to wait: twice the last time, from the start again after a run of ten seconds."""
    if previous <= 0 or ran_for >= _GOOD_RUN:
        return _FIRST_DELAY
    return min(previous * 2, _MAX_DELAY)
