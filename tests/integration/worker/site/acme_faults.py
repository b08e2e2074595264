"""The faulty step types, as if somebody had installed them."""

from tests.integration.faults import fault_step, patient_step

__all__ = ["fault_step", "patient_step"]
