"""What a test gives in the place of what an operator grants: `python3 -m unittest discover tests` in the folder above."""

from datetime import datetime
from unittest import TestCase

from tidegate_plugin import clock, environment, http, random
from tidegate_plugin.testing import given

URL = "https://api.example.com/items/7"


class Given(TestCase):
    def test_nothing_is_there_unless_it_is_given(self) -> None:
        self.assertEqual(clock.now().isoformat(), "2024-01-01T00:00:00+00:00")
        self.assertIsNone(environment.get("PATH"))
        with self.assertRaises(http.HttpError) as raised:
            http.get(URL)
        self.assertEqual(raised.exception.kind, "not-granted")
        self.assertEqual(str(raised.exception), f"no answer is given for GET {URL}")

    def test_what_is_given_is_there_until_the_end_of_the_block(self) -> None:
        with given(clock=datetime(2026, 1, 31, 12), env={"REGION": "eu"}):
            self.assertEqual(clock.milliseconds(), 1_769_860_800_000)
            self.assertEqual(environment.get("REGION"), "eu")
        self.assertIsNone(environment.get("REGION"))

    def test_requests_are_answered_by_method_and_url(self) -> None:
        answer = http.Response(200, (("X-Page", "1"),), b'{"stock": 3}')
        slow = http.HttpError("timed-out", "too slow")
        with given(http={("GET", URL): answer, ("POST", URL): slow}):
            response = http.get(URL, headers={"accept": "application/json"}, timeout=1.5)
            self.assertTrue(response.ok)
            self.assertEqual((response.json(), response.header("x-page")), ({"stock": 3}, "1"))
            with self.assertRaises(http.HttpError) as raised:
                http.post(URL, "{}")
            self.assertEqual(raised.exception.kind, "timed-out")

    def test_random_numbers_are_the_same_in_each_test(self) -> None:
        seen = []
        for _ in range(2):
            with given():
                seen.append((random.bytes(8), random.number()))
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(len(seen[0][0]), 8)
        self.assertTrue(0 <= seen[0][1] < 1)
