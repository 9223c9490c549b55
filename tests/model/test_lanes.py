"""Random steps of producers, workers and operators, and a plain model beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.divert_steps import DivertSteps
from tests.model.drain_steps import DrainSteps
from tests.model.job_steps import JobSteps
from tests.model.machine import steps_run
from tests.model.pause_steps import PauseSteps
from tests.model.retry_steps import RetrySteps
from tests.model.stale_steps import StaleSteps

if TYPE_CHECKING:
    from redis import Redis

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


class LaneSteps(JobSteps, PauseSteps, DivertSteps, DrainSteps, StaleSteps, RetrySteps):
    """Everything that can happen to the lanes."""


@pytest.mark.slow
def test_every_job_is_in_one_place_and_in_order(redis: Redis) -> None:
    """Whatever happens in whichever order, lanes, backlogs, claims and journal are as modelled."""
    run_state_machine_as_test(
        lambda: LaneSteps(redis),  # type: ignore[arg-type]  # whatever makes one will do
        settings=settings(
            max_examples=400 if IS_LONG else 40,
            stateful_step_count=60 if IS_LONG else 40,
            phases=[phase for phase in settings().phases if phase is not Phase.explain],
            report_multiple_bugs=False,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    print(f"{steps_run['steps']} steps in {steps_run['runs']} runs")
