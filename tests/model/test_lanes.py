"""Random steps of producers, workers and operators, and a plain model beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.control_steps import ControlSteps
from tests.model.job_steps import JobSteps
from tests.model.machine import steps_run

if TYPE_CHECKING:
    from redis import Redis

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


class LaneSteps(JobSteps, ControlSteps):
    """Everything that can happen to the lanes."""


def test_every_job_is_in_one_place_and_in_order(redis: Redis) -> None:
    """Whatever happens in whichever order, lanes, backlogs, claims and journal are as modelled."""
    run_state_machine_as_test(
        lambda: LaneSteps(redis),
        settings=settings(
            max_examples=400 if IS_LONG else 40,
            stateful_step_count=60 if IS_LONG else 40,
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    print(f"{steps_run['steps']} steps in {steps_run['runs']} runs")
