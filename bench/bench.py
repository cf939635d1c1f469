#!/usr/bin/python3
"""bench.py [-r ROUNDS] [--quick | --long] [-o FILE.json] [ROW...]

Runs the rows named (P1 ... P11; all of them without) and prints a table of
medians and ratios.  Contestants alternate within a row; what is compared is
always from the same round.  The JSON file has each figure with its goal.
"""

import argparse
import json
import os
import platform
import subprocess
import time

import flat
import pace
import speed
from table import Table

ROWS = {'P1': speed.p1_p2, 'P3': speed.p3_p4, 'P5': speed.p5, 'P6': flat.p6,
        'P7': flat.p7, 'P8': flat.p8, 'P9': pace.p9, 'P10': pace.p10,
        'P11': pace.p11}
SAME = {'P2': 'P1', 'P4': 'P3'}

SIZES = {
    'quick': dict(lines=10000, mb=40, million=100000, probe=2, recover=100,
                  makespan=4000, scaling=4000, small=500,
                  memory=[(10000, 100)]),
    'usual': dict(lines=50000, mb=200, million=1000000, probe=4, recover=1000,
                  makespan=20000, scaling=10000, small=10000,
                  memory=[(10000, 100), (1000000, 100)]),
}
SIZES['long'] = dict(SIZES['usual'], memory=[
    (10000, 100), (1000000, 100), (10000000, 100), (1200000, 4096)])


def machine():
    cpu = 'unknown'

    with open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('model name'):
                cpu = line.split(':', 1)[1].strip()
                break

    nginx = subprocess.run([os.environ.get('NGINX', '/usr/sbin/nginx'), '-v'],
                           capture_output=True, text=True).stderr.strip()
    return {'cpu': cpu, 'cores': os.cpu_count(), 'kernel': platform.release(),
            'nginx': nginx.split(': ')[-1],
            'time': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}


def main():
    p = argparse.ArgumentParser()
    p.add_argument('-r', '--rounds', type=int, default=5)
    p.add_argument('--quick', action='store_true')
    p.add_argument('--long', action='store_true')
    p.add_argument('-o', '--output')
    p.add_argument('rows', nargs='*')
    args = p.parse_args()

    size = 'quick' if args.quick else 'long' if args.long else 'usual'
    opts = argparse.Namespace(rounds=args.rounds, **SIZES[size])
    rows = {SAME.get(r, r) for r in args.rows} or set(ROWS)

    unknown = rows - set(ROWS)
    if unknown:
        p.error(f'no such row: {" ".join(sorted(unknown))}')

    m = machine()
    print(f'{m["cpu"]}, {m["cores"]} cores, Linux {m["kernel"]}, {m["nginx"]},'
          f' {m["time"]}; {args.rounds} rounds, {size} sizes\n', flush=True)

    table = Table()
    print('\n'.join(table.markdown().splitlines()))

    for name, row in ROWS.items():
        if name in rows:
            row(table, opts)

    if args.output:
        with open(args.output, 'w') as f:
            json.dump({'machine': m, 'rounds': args.rounds, 'sizes': size,
                       'figures': table.entries}, f, indent=1)

    met = [e['met'] for e in table.entries if e['met'] is not None]
    print(f'\n{met.count(False)} of {len(met)} goals not met')


main()
