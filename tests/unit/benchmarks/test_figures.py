"""The table's ratios, and the pages that everything is measured with."""

import json

import pytest

from automation.runtime.documents import check_page
from benchmarks.figures import FIGURES, Figure, latency, longest_ms, lost, ratios
from benchmarks.pages import Edit, page


def test_every_ratio_says_how_much_better_we_are_in_the_sense_of_the_table() -> None:
    ours = {
        "burst_per_second": 1200, "storm_seconds": 2, "cpu_ms_per_execution": 1, "idle_p50_ms": 20,
        "cold_p50_ms": 250, "singles_per_second": 4,
    }  # fmt: skip
    celery = {"burst_per_second": 400, "storm_seconds": 6, "cpu_ms_per_execution": 4, "idle_p50_ms": 10}
    stock = {"idle_p50_ms": 3000, "runs_per_second": 0.5}

    assert ratios({"ours": ours, "celery": celery, "stock": stock}) == {
        "burst_vs_celery": 3,
        "storm_vs_celery": 3,
        "cpu_vs_celery": 0.25,
        "idle_vs_stock": 150,
        "idle_vs_celery": 2,
        "cold_vs_stock": 12,
        "single_vs_stock": 8,
    }


def test_what_could_not_be_measured_has_no_ratio_and_hides_no_other() -> None:
    found = ratios({"ours": {"idle_p50_ms": 20}, "celery": None, "stock": {"idle_p50_ms": 3000}})

    assert found["burst_vs_celery"] is None
    assert found["idle_vs_stock"] == 150


@pytest.mark.parametrize("figure", FIGURES, ids=lambda one: one.key)
def test_the_aim_is_never_easier_than_the_must(figure: Figure) -> None:
    assert figure.meets(figure.must, figure.must)
    assert figure.meets(figure.aim, figure.must)
    assert not figure.meets(figure.must, figure.aim)


def test_latency_is_told_in_milliseconds_by_median_and_95th_percentile() -> None:
    seconds = [n / 1000 for n in range(1, 22)]

    assert latency(seconds, "idle") == {"idle_p50_ms": 11.0, "idle_p95_ms": 20.0}


def test_lost_is_the_sum_of_all_violations_of_all_that_was_measured() -> None:
    systems = {"ours": {"lost": {"stale_pages": 2, "verify": 1}}, "celery": None, "stock": {"lost": {"x": 0}}}

    assert lost(systems) == 3


@pytest.mark.parametrize(("number", "version"), [(0, 1), (17, 2), (40_000, 10)])
def test_a_page_is_valid_has_20_components_and_about_4_kilobytes(number: int, version: int) -> None:
    document = page(number, version)

    assert check_page(document) == []
    assert len(document["config"]["components"]) == 20
    assert 3_800 <= len(json.dumps(document, ensure_ascii=False).encode()) <= 4_600


def test_pages_differ_by_number_and_by_version() -> None:
    assert len({json.dumps(Edit(number, version).data()) for number in range(20) for version in (1, 2, 3)}) == 60


def test_a_scrape_and_a_page_have_a_limit_of_their_own_and_a_list_has_none() -> None:
    operations = ("metrics, a scrape", "page history, 90 days", "executions, 100th page")
    assert [longest_ms(one) for one in operations] == [100, 200, None]
