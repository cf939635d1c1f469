"""P9-P11: makespan, scaling, many small batches."""

import json
import time

from rig import Rig, bodies_file, client, lines_file, wait
from speed import URI, run_batch, wipe
from table import median


def p9(table, opts):
    n = opts.makespan

    with Rig() as rig:
        rig.start_upstream('-m', 20, '-s', 0.8, '-n', 64)
        node = rig.start_nginx(2, 64)
        file_id = node.upload(lines_file(rig, 'l.jsonl', n, 520))
        ratios = []

        for _ in range(opts.rounds):
            rig.upstream_reset()
            t = time.monotonic()
            run_batch(node, file_id, n)
            took = time.monotonic() - t
            ratios.append(took / (rig.upstream_stats()['work'] / 64))

        table.add('P9', f'{n:,} lines, 64 slots, log-normal: makespan to '
                  'work / slots', median(ratios), 'x', at_most=1.05)
        rig.stop_nginx()
        wipe(rig)

        rig.start_upstream()
        node = rig.start_nginx(2, 64)
        file_id = node.upload(lines_file(rig, 'l.jsonl', opts.lines, 520))
        first, last = [], []

        for _ in range(opts.rounds):
            rig.upstream_reset()
            t = time.time()
            run_batch(node, file_id, opts.lines)
            end = time.time()
            s = rig.upstream_stats()
            first.append((s['first'] - t) * 1e3)
            last.append((end - s['last']) * 1e3)

        table.add('P9', f'{opts.lines:,} lines: create to first line sent',
                  median(first), 'ms', at_most=50)
        table.add('P9', f'{opts.lines:,} lines: last answer to completed',
                  median(last), 'ms', at_most=100)


def p10(table, opts):
    ideal = 64 / 0.020

    with Rig() as rig:
        rig.start_upstream('-m', 20)
        n = opts.scaling
        path = lines_file(rig, 'l.jsonl', n, 520)
        bodies = bodies_file(rig, 'bodies', 1000, 520)

        # what the upstream gives when nothing is in between

        table.add('P10', '20 ms, a raw client straight to the upstream: '
                  'share of slots / latency',
                  median(client(rig.upstream_port, URI, '-c', 64, '-n', n,
                                '-f', bodies)['rate']
                         for _ in range(opts.rounds)) / ideal, 'x')

        for workers in (1, 2, 4):
            node = rig.start_nginx(workers, 64)
            p10_run(table, opts, rig, [node], path, n,
                    f'{workers} worker' + 's' * (workers > 1), ideal)

        nodes = [rig.start_nginx(1, 64, f'node{i}') for i in (1, 2)]
        p10_run(table, opts, rig, nodes, path, 2 * n, '2 nodes', 2 * ideal)


def p10_run(table, opts, rig, nodes, path, n, tag, ideal):
    # the concurrency is of a node, so two nodes have twice the lines under way

    if len(nodes) > 1:
        path = lines_file(rig, 'l2.jsonl', n, 520)

    file_id = nodes[0].upload(path)
    rates, commands = [], []

    for _ in range(opts.rounds):
        c = rig.redis_commands()
        rig.upstream_reset()
        run_batch(nodes[0], file_id, n, 0.25)
        s = rig.upstream_stats()
        rates.append(n / (s['last'] - s['first']))
        commands.append((rig.redis_commands() - c) / n)

    table.add('P10', f'20 ms, {tag}: share of slots / latency',
              median(rates) / ideal, 'x', at_least=0.95)
    table.add('P10', f'20 ms, {tag}: Redis commands', median(commands),
              'a line', at_most=0.1)
    rig.stop_nginx()
    wipe(rig)


def p11(table, opts):
    n = opts.small

    with Rig() as rig:
        rig.start_upstream()
        node = rig.start_nginx(2, 64)
        file_id = node.upload(lines_file(rig, 'one.jsonl', 1, 200))
        body = f'{rig.dir}/static/create'

        with open(body, 'w') as f:
            f.write(json.dumps({'input_file_id': file_id,
                                'endpoint': '/v1/chat/completions',
                                'completion_window': '24h'}) + '\n')

        t = time.monotonic()
        r = client(node.port, '/v1/batches', '-f', body, '-c', 32, '-n', n)

        if r['errors']:
            raise RuntimeError(f'creates: {r}')

        created = time.monotonic() - t
        wait(lambda: rig.upstream_stats()['requests'] >= n, 100, 0.02)

        # the newest are at the front of the list, and ended last

        def over():
            page = node.json('GET', '/v1/batches?limit=100')
            return all(b['status'] == 'completed' for b in page['data'])

        wait(over, 100, 0.02)
        took = time.monotonic() - t
        after, times, seen = '', [], 0

        while True:
            t = time.monotonic()
            page = node.json('GET', f'/v1/batches?limit=100{after}')
            times.append((time.monotonic() - t) * 1e3)
            seen += len(page['data'])

            if any(b['status'] != 'completed' for b in page['data']):
                raise RuntimeError('a batch has not ended')

            if not page['has_more']:
                break

            after = f'&after={page["last_id"]}'

        if seen != n:
            raise RuntimeError(f'{seen} of {n} batches in the list')

        table.add('P11', f'{n:,} batches of 1 line: create to completed',
                  n / took, 'batches/s', at_least=500)
        table.add('P11', f'{n:,} batches: creating them', n / created,
                  'batches/s')
        table.add('P11', f'list of {n:,}: a page of 100', median(times), 'ms',
                  at_most=5)
