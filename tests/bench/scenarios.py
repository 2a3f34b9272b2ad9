"""What is run and what is compared: data alone, read by `run`.

A scenario is one call of the load generator; a row is one figure of a scenario in the table of a section,
with the goal that Nexum has set itself there.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scenario:
    """`measured` names the generator's flag that takes the measured seconds; none where the work sets the time."""

    name: str
    command: str
    # Whether the null broker can play: it forwards frames, but routes no `$share`, keeps nothing and answers no retained.
    null: bool = True
    measured: str = "--secs"
    # Flags whose numbers `--small` divides by a hundred.
    sizes: dict[str, int] = field(default_factory=dict)

    def arguments(self, secs: float, small: bool) -> list[str]:
        words = self.command.split()
        for flag, size in self.sizes.items():
            words += [flag, str(size // 100 if small else size)]
        if self.measured:
            words += [self.measured, f"{secs:g}"]
        return words


@dataclass(frozen=True)
class Goal:
    """Either a bound on the ratio to the best peer of the run, or a bound on the figure itself, or none."""

    text: str = ""
    of_best: float | None = None
    at_most: float | None = None

    def met(self, ours: float | None, peers: list[float], higher_is_better: bool) -> bool | None:
        """None where the run cannot tell: no goal, or no peer to compare with. No figure of our own is a goal missed."""
        if self.of_best is None and self.at_most is None:
            return None
        if ours is None:
            return False
        if self.at_most is not None:
            return ours <= self.at_most
        if not peers:
            return None
        return ours >= max(peers) * self.of_best if higher_is_better else ours <= min(peers) * self.of_best


@dataclass(frozen=True)
class Row:
    label: str
    scenario: str
    metric: str
    goal: Goal = Goal()
    scale: float = 1.0


@dataclass(frozen=True)
class Section:
    title: str
    row_title: str
    rows: list[Row]
    higher_is_better: bool = False


SCENARIOS = [
    Scenario("p2p-q0-64", "p2p --qos 0 --payload 64"),
    Scenario("p2p-q0-1k", "p2p --qos 0 --payload 1024"),
    # The default window would keep 320 MB under way: a test of the peers' buffer limits, not of their speed.
    Scenario("p2p-q0-16k", "p2p --qos 0 --payload 16384 --window 200"),
    Scenario("p2p-q1-64", "p2p --qos 1 --payload 64"),
    Scenario("p2p-q2-64", "p2p --qos 2 --payload 64"),
    Scenario("single-q0", "p2p --qos 0 --payload 64 --window 1 --ahead 1"),
    Scenario("single-q1", "p2p --qos 1 --payload 64 --window 1 --ahead 1"),
    Scenario("fanout-100-q0", "fanout --subs 100 --qos 0"),
    # Default windows are up to two million deliveries under way: a peer that routes all it has read before it writes is
    # silent for so long that the generator takes them for lost. Two hundred thousand are enough to fill every batch.
    Scenario("fanout-1000-q0", "fanout --subs 1000 --qos 0 --window 200"),
    Scenario("fanout-100-q1", "fanout --subs 100 --qos 1"),
    Scenario("fanout-1000-q1", "fanout --subs 1000 --qos 1 --window 100 --ahead 200"),
    Scenario("fanin-q0", "fanin --pubs 100 --qos 0"),
    Scenario("fanin-q1", "fanin --pubs 100 --qos 1"),
    Scenario("shared-q0", "shared --consumers 8 --pubs 8 --qos 0", null=False),
    Scenario("shared-q1", "shared --consumers 8 --pubs 8 --qos 1", null=False),
    Scenario("latency-q0", "mixed --rate 10000 --fan 1 --qos 0 --payload 64"),
    Scenario("latency-q1", "mixed --rate 10000 --fan 1 --qos 1 --payload 64"),
    Scenario("churn", "churn"),
    Scenario("idle", "idle --src 8", null=False, measured="--hold", sizes={"--conns": 19_000}),
    Scenario("routing", "routing --wild 25", null=False, sizes={"--filters": 1_000_000}),
    Scenario("retained", "retained --payload 64", null=False, measured="", sizes={"--count": 1_000_000}),
]

HALF = Goal("≤ 0.5 of the best peer", of_best=0.5)
NINE_TENTHS = Goal("≤ 0.9 of the best peer", of_best=0.9)
NO_WORSE = Goal("≤ the best peer", of_best=1.0)
AHEAD = Goal("≥ the best peer", of_best=1.0)

PIPELINED = [
    ("p2p QoS 0, 64 B", "p2p-q0-64"),
    ("p2p QoS 0, 1 KiB", "p2p-q0-1k"),
    ("p2p QoS 0, 16 KiB", "p2p-q0-16k"),
    ("p2p QoS 1, 64 B", "p2p-q1-64"),
    ("p2p QoS 2, 64 B", "p2p-q2-64"),
    ("fan-out 1→100 QoS 0", "fanout-100-q0"),
    ("fan-out 1→1000 QoS 0", "fanout-1000-q0"),
    ("fan-out 1→100 QoS 1", "fanout-100-q1"),
    ("fan-out 1→1000 QoS 1", "fanout-1000-q1"),
    ("fan-in 100→1 QoS 0", "fanin-q0"),
    ("fan-in 100→1 QoS 1", "fanin-q1"),
    ("shared, 8 members QoS 0", "shared-q0"),
    ("shared, 8 members QoS 1", "shared-q1"),
    ("1M filters, 25 % wildcard", "routing"),
]
SINGLE = [
    ("p2p QoS 0, one in flight", "single-q0"),
    ("p2p QoS 1, one in flight", "single-q1"),
]
LIGHT = [
    ("light load, 10k/s QoS 0", "latency-q0"),
    ("light load, 10k/s QoS 1", "latency-q1"),
]

SECTIONS = [
    Section(
        "CPU per delivered message",
        "µs",
        [Row(label, name, "cpu_us_per_msg", HALF) for label, name in PIPELINED]
        + [Row(label, name, "cpu_us_per_msg", NINE_TENTHS) for label, name in SINGLE + LIGHT],
    ),
    Section(
        "Delivered messages per second",
        "messages/s",
        [Row(label, name, "msg_s", AHEAD) for label, name in PIPELINED + SINGLE],
        higher_is_better=True,
    ),
    Section(
        "Latency",
        "µs",
        [
            Row(f"{label}, {quantile}", name, f"{quantile}_us", goal)
            for label, name in LIGHT
            for quantile, goal in (("p50", Goal()), ("p99", NO_WORSE))
        ],
    ),
    Section(
        "Connections coming and going",
        "cycles/s",
        [Row("connect, subscribe, disconnect", "churn", "cycles_s", AHEAD)],
        higher_is_better=True,
    ),
    Section(
        "What is kept",
        "figure",
        [
            Row("CPU of such a cycle, µs", "churn", "cpu_us_per_cycle", NO_WORSE),
            Row("idle connection, bytes", "idle", "rss_per_conn_b", Goal("≤ 2048", at_most=2048)),
            Row("idle connections, % of a core", "idle", "idle_cpu_pct", NO_WORSE),
            Row("subscription, bytes", "routing", "rss_per_sub_b", Goal("≤ 300", at_most=300)),
            Row("subscribing, CPU µs each", "routing", "cpu_us_per_sub", NO_WORSE),
            Row("retained message of 64 B, bytes", "retained", "rss_per_msg_b", Goal("≤ 300 + 64", at_most=364)),
            Row("storing retained, CPU µs each", "retained", "store_cpu_us_per_msg", NO_WORSE),
            Row("replay of 1M retained, s", "retained", "replay_s", Goal("< 0.5", at_most=0.5)),
        ],
    ),
]
