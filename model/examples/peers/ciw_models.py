"""The M/M/4 queue of the throughput example in Ciw.

usage: ciw_models.py mmc SECONDS -> a line of JSON, as the example prints it
"""

import json
import sys
import time

import ciw


def main():
    seconds = int(sys.argv[2])
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=800.0)],
        service_distributions=[ciw.dists.Exponential(rate=250.0)],
        number_of_servers=[4],
    )
    ciw.seed(1)
    start = time.perf_counter()
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(seconds)
    took = time.perf_counter() - start
    records = simulation.get_all_records()
    latency = sum(record.waiting_time + record.service_time for record in records)
    print(json.dumps({
        "scenario": "mmc",
        "requests": len(records),
        "meanMs": round(latency / len(records) * 1e3, 4),
        "seconds": round(took, 3),
        "perSecond": round(len(records) / took),
    }))


if __name__ == "__main__":
    main()
