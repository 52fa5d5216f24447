"""What a device does in a second, as told before the first step."""

from math import inf

import pytest

from longtake.engine.take.time_left import operations_a_second


def card(told: float, rate: float):
    """Seconds of a product on a card: to be told of it, and to compute it."""
    asked = []

    def seconds(n: int) -> float:
        asked.append(n)
        return told + 2 * n**3 / rate

    return seconds, asked


@pytest.mark.parametrize("rate", [10e12, 150e12, 600e12])
def test_a_cards_rate_is_that_of_products_that_keep_it_busy(rate):
    seconds, asked = card(8e-6, rate)
    assert 0.75 < operations_a_second(seconds, 8192) / rate <= 1
    assert 2 * 512**3 / seconds(512) < 0.6 * rate or rate < 20e12  # which a small one would say
    assert asked[0] == 512


def test_no_larger_ones_are_tried_than_help():
    seconds, asked = card(0, 1e12)
    assert operations_a_second(seconds, 8192) == pytest.approx(1e12)
    assert asked == [512, 1024]


def test_on_a_cpu_it_is_one_small_product():
    seconds, asked = card(1e-6, 1e11)
    operations_a_second(seconds, 512)
    assert asked == [512]


def test_one_that_does_not_fit_counts_as_no_faster():
    assert operations_a_second(lambda n: inf if n > 1024 else n**2 * 1e-12, 8192) == 2048e12
