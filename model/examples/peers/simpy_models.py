"""The models of the throughput example in SimPy, as its documentation teaches them.

usage: simpy_models.py mmc|full SECONDS -> a line of JSON, as the example prints it
"""

import json
import math
import random
import sys
import time

import simpy

SEED = 1


class Sums:
    def __init__(self):
        self.n = 0
        self.latency = 0.0

    def ended(self, took):
        self.n += 1
        self.latency += took


def mmc(seconds):
    """Four servers at 80 %."""
    env, draw, sums = simpy.Environment(), random.Random(SEED), Sums()
    servers = simpy.Resource(env, capacity=4)

    def customer():
        came = env.now
        with servers.request() as turn:
            yield turn
            yield env.timeout(draw.expovariate(250.0))
        sums.ended(env.now - came)

    def source():
        while True:
            yield env.timeout(draw.expovariate(800.0))
            env.process(customer())

    env.process(source())
    env.run(until=seconds)
    return sums


class Pod:
    def __init__(self, env, ready_at):
        self.cores = simpy.Resource(env, capacity=2)
        self.ready_at = ready_at
        self.is_ready = False
        self.is_gone = False
        self.used = 0.0
        self.read = 0.0


def full(seconds):
    """A day's wave around 1,000/s: pods with probes, a proxy's round, an autoscaler.

    Much of what Highwater's model has is left out: connections, rollouts, the metrics pipeline,
    terminations, time-outs.
    """
    env, draw, sums = simpy.Environment(), random.Random(SEED), Sums()
    sigma = math.log(40 / 8) / 2.326347874040841
    pods = []
    view = []
    turn = [0]

    def look():
        view[:] = [pod for pod in pods if pod.is_ready and not pod.is_gone]

    def add():
        pod = Pod(env, env.now + 1.0)
        pods.append(pod)
        env.process(probes(pod))

    def probes(pod):
        while not pod.is_gone:
            yield env.timeout(0.0002)
            if not pod.is_ready and env.now >= pod.ready_at:
                pod.is_ready = True
                yield env.timeout(0.1)
                look()
            yield env.timeout(1.0)

    def request():
        came = env.now
        yield env.timeout(0.0001)
        pod = view[turn[0] % len(view)]
        turn[0] += 1
        with pod.cores.request() as core:
            yield core
            yield env.timeout(0.002)
        pod.used += 0.002
        yield env.timeout(0.008 * math.exp(sigma * draw.gauss(0.0, 1.0)))
        yield env.timeout(0.0001)
        sums.ended(env.now - came)

    def source():
        peak = 1600.0
        while True:
            yield env.timeout(draw.expovariate(peak))
            rate = 1000.0 + 600.0 * math.sin(2 * math.pi * env.now / seconds)
            if draw.random() * peak < rate and view:
                env.process(request())

    def autoscaler():
        while True:
            yield env.timeout(15.0)
            ready = [pod for pod in pods if pod.is_ready]
            used = sum(pod.used - pod.read for pod in ready) / 15.0
            for pod in ready:
                pod.read = pod.used
            ratio = used / (len(ready) * 0.25) / 0.6
            if abs(ratio - 1.0) <= 0.1:
                continue
            wanted = min(40, max(4, math.ceil(ratio * len(ready))))
            for _ in range(len(pods), wanted):
                add()
            for pod in pods[wanted:]:
                pod.is_gone = True
            del pods[wanted:]
            look()

    for _ in range(10):
        add()
        pods[-1].is_ready = True
    look()
    env.process(source())
    env.process(autoscaler())
    env.run(until=seconds)
    return sums


def main():
    which, seconds = sys.argv[1], int(sys.argv[2])
    start = time.perf_counter()
    sums = {"mmc": mmc, "full": full}[which](seconds)
    took = time.perf_counter() - start
    print(json.dumps({
        "scenario": which,
        "requests": sums.n,
        "meanMs": round(sums.latency / sums.n * 1e3, 4),
        "seconds": round(took, 3),
        "perSecond": round(sums.n / took),
    }))


if __name__ == "__main__":
    main()
