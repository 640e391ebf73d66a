import time

from cluster.tracking.background import Background


def test_slow_tracking_is_waited_for_as_long_as_it_goes_on_and_the_urgent_comes_first():
    order, warnings = [], []
    work = Background(warnings.append)

    def slow(number):
        time.sleep(0.1)
        order.append(number)

    for number in range(10):
        work.submit(lambda number=number: slow(number))
    work.submit(lambda: slow("sweep"), first=True)
    assert work.close(0.4)  # a second in all, a tenth each
    assert warnings == []
    assert order.index("sweep") <= 1
    assert [number for number in order if number != "sweep"] == [*range(10)]
