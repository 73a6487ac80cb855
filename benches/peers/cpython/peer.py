"""CPython: weakref.finalize. See ../README.md."""

import gc
import json
import platform
import sys
import time
import weakref

KIND, WORK, N, DEAD = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
now = time.perf_counter_ns


class Thing:
    __slots__ = ("a", "b", "__weakref__")


class Calls:
    count = 0


def tick():
    Calls.count += 1


def timed(phases, name, body):
    begun = now()
    body()
    phases[name] = (now() - begun) / N


def shuffled(below):
    state = 88172645463325252
    mask = (1 << 64) - 1
    while True:
        state ^= state << 13 & mask
        state ^= state >> 7
        state ^= state << 17 & mask
        yield (state >> 32) % below


def register(keep):
    finalize = weakref.finalize
    for thing in keep:
        finalize(thing, tick).atexit = False


def cycle():
    phases, keep = {}, []
    timed(phases, "alloc", lambda: keep.extend([Thing() for _ in range(N)]))
    if KIND != "none":
        timed(phases, "register", lambda: register(keep))
    gc.collect()
    timed(phases, "live", gc.collect)
    dead = [i for i, hundredth in zip(range(N), shuffled(100)) if hundredth < DEAD]
    Calls.count = 0

    # The last reference goes, and the call is made at once: discovery and drain are one.
    def drop():
        for i in dead:
            keep[i] = None

    if KIND == "none":
        timed(phases, "discover", drop)
    else:
        timed(phases, "drain", drop)
        assert Calls.count == len(dead), Calls.count
    timed(phases, "free", gc.collect)
    return phases


def cancel():
    phases = {}
    keep = [Thing() for _ in range(N)]
    handles = [weakref.finalize(thing, tick) for thing in keep]

    def detach():
        for handle in handles:
            handle.detach()

    timed(phases, "cancel", detach)
    return phases


def churn():
    phases, steps = {}, []
    Calls.count = 0

    def churning():
        window = max(N // 10, 1)
        ring = [None] * window
        last = now()
        for i in range(N):
            thing = Thing()
            if KIND != "none":
                weakref.finalize(thing, tick).atexit = False
            ring[i % window] = thing
            if i % 100 == 99:
                end = now()
                steps.append(end - last)
                last = end
        if KIND != "none":
            phases["backlog"] = 100 * (N - window - Calls.count) / N

    timed(phases, "churn", churning)
    assert KIND == "none" or Calls.count == N, Calls.count
    steps.sort()
    for name, part in ("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1):
        phases[name] = steps[int((len(steps) - 1) * part)]
    return phases


print(json.dumps({"version": f"{platform.python_implementation()} {platform.python_version()}"}), flush=True)
# As most programs have it while they churn; where collections are timed, none happens by itself.
gc.disable() if WORK != "churn" else gc.enable()
for _ in sys.stdin:
    print(json.dumps({"cycle": cycle, "cancel": cancel, "churn": churn}[WORK]()), flush=True)
