"""P6-P8: memory, the event loop, the neighbours."""

import os
import subprocess
import threading
import time

from rig import Probe, Rig, bodies_file, lines_file
from speed import URI, run_batch, run_wrk, wipe
from table import median


def p6(table, opts):
    with Rig() as rig:
        rig.start_upstream('-b', 20)

        for n, size in opts.memory:
            node = rig.start_nginx(2, 64)
            path = lines_file(rig, 'm.jsonl', n, size)
            small = lines_file(rig, 's.jsonl', 200, size)

            # what a worker needs once, whatever comes

            run_batch(node, node.upload(small), 200)
            node.reset_memory()
            before = node.memory('VmRSS')
            redis = rig.redis_memory()

            file_id = node.upload(path)
            bytes_ = os.path.getsize(path)
            os.unlink(path)
            t = time.monotonic()
            batch = node.create(file_id)
            peak = redis

            while True:
                b = node.json('GET', f'/v1/batches/{batch}')
                peak = max(peak, rig.redis_memory())

                if b['status'] == 'completed':
                    break

                if b['status'] == 'failed':
                    raise RuntimeError(str(b)[:500])

                time.sleep(0.2)

            if b['request_counts']['completed'] != n:
                raise RuntimeError(f'counts: {b["request_counts"]}')

            tag = f'{n:,} lines, {bytes_ / 1e6:,.0f} MB'
            table.add('P6', f'{tag}: growth of a worker',
                      (node.memory('VmHWM') - before) / (1 << 20), 'MB',
                      at_most=32)
            table.add('P6', f'{tag}: Redis',
                      (peak - redis) / (1 << 20), 'MB',
                      at_most=max(1.0, n / 1e6))
            table.add('P6', f'{tag}: took', time.monotonic() - t, 's')
            rig.stop_nginx()
            wipe(rig)


class Meanwhile:
    """Calls work() again and again in a thread until the with ends."""

    def __init__(self, work):
        self.work = work
        self.over = False
        self.error = None
        self.thread = threading.Thread(target=self.loop)

    def loop(self):
        try:
            while not self.over:
                self.work()
        except Exception as e:
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.over = True
        self.thread.join()

        if self.error and not args[0]:
            raise self.error


def nothing():
    time.sleep(0.05)


def p7(table, opts):
    seconds = opts.probe

    with Rig() as rig:
        rig.start_upstream('-m', 2)
        with open(f'{rig.dir}/static/dot', 'w') as f:
            f.write('.')
        bodies = bodies_file(rig, 'bodies', 1000, 520)
        lines = lines_file(rig, 'l.jsonl', 20000, 520)
        big = lines_file(rig, 'big.jsonl', (opts.mb << 20) // 4200, 4096)
        bad = lines_file(rig, 'bad.jsonl', (opts.mb << 20) // 4200, 4096,
                         bad=(1,))
        node = rig.start_nginx(1, 64)
        run_id = node.upload(lines)
        bad_id = node.upload(bad)

        def upload():
            node.call('DELETE', f'/v1/files/{node.upload(big)}')

        # the same load without disk work: bodies that are read and dropped

        def post():
            subprocess.run(['curl', '-sS', '-o', '/dev/null', '-F',
                            f'file=@{big}', '-F', 'x=y',
                            f'http://127.0.0.1:{node.port}/discard'],
                           check=True)

        loads = {
            'idle': nothing,
            'wrk, concurrency 64': lambda: run_wrk(node, 64, bodies, 1),
            'body of a plain request': post,
            'upload': upload,
            'validation': lambda: node.finish(node.create(bad_id),
                                              states=('failed',)),
            'run and finalizing': lambda: run_batch(node, run_id, 20000),
        }
        seen = {}

        for name, load in loads.items():
            rounds = []

            for _ in range(opts.rounds):
                with Meanwhile(load):
                    time.sleep(0.2)
                    rounds.append(Probe(node.port, '/static/dot', 500,
                                        seconds).result())

            seen[name] = rounds
            table.add('P7', f'static file, {name}: p99.9',
                      median(r['p999'] for r in rounds), 'ms')
            table.add('P7', f'static file, {name}: maximum',
                      median(r['max'] for r in rounds), 'ms')

        def p999(name):
            return median(r['p999'] for r in seen[name])

        for name, base in (('upload', 'body of a plain request'),
                           ('validation', 'idle'),
                           ('run and finalizing', 'wrk, concurrency 64')):
            table.add('P7', f'{name} over {base}: p99.9',
                      p999(name) - p999(base), 'ms', at_most=2.0)

        p7_recovery(table, opts, rig, node, seconds, p999('idle'))


def p7_recovery(table, opts, rig, node, seconds, idle):
    one = lines_file(rig, 'one.jsonl', 1, 200)
    file_id = node.upload(one)

    for b in [node.create(file_id) for _ in range(opts.recover)]:
        node.finish(b)

    rig.ask_redis('FLUSHALL')
    r = Probe(node.port, '/static/dot', 500, max(3, seconds)).result()
    table.add('P7', f'recovery of {opts.recover:,} batches over idle: p99.9',
              r['p999'] - idle, 'ms', at_most=2.0)
    table.add('P7', f'recovery of {opts.recover:,} batches: maximum',
              r['max'], 'ms')


def p8(table, opts):
    with Rig() as rig:
        rig.start_upstream('-m', 5)
        bodies = bodies_file(rig, 'bodies', 1000, 520)
        one = bodies_file(rig, 'one', 1, 520)
        lines = lines_file(rig, 'l.jsonl', 20000, 520)
        node = rig.start_nginx(1, 64)
        run_id = node.upload(lines)
        seen = {'wrk': [], 'module': []}

        for _ in range(opts.rounds):
            for name, load in (
                    ('wrk', lambda: run_wrk(node, 64, bodies, 1)),
                    ('module', lambda: run_batch(node, run_id, 20000))):
                with Meanwhile(load):
                    time.sleep(0.3)
                    seen[name].append(Probe(node.port, URI, 100, opts.probe,
                                            '-f', one).result())

        for name, rounds in seen.items():
            for q in ('p50', 'p99'):
                table.add('P8', f'a client\'s request beside {name}: {q}',
                          median(r[q] for r in rounds), 'ms')

        table.add('P8', 'p99 beside the module over p99 beside wrk',
                  median(m['p99'] - w['p99'] for m, w in
                         zip(seen['module'], seen['wrk'])), 'ms',
                  at_most=0.5)
