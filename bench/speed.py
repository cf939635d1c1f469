"""P1-P5: lines, CPU, uploads, downloads, validation."""

import os
import re
import shutil
import subprocess
import time

import guard
from rig import (BUILD, ROOT, Rig, bodies_file, client, lines_file, words)
from table import alternate, median, middle, ratio

HERE = os.path.dirname(os.path.abspath(__file__))
URI = '/v1/chat/completions'
PYTHON = '/usr/bin/python3'        # that the distribution's aiohttp is for


def timed(nginx, lines, work):
    """work() for that many lines: rate and CPU per line of nginx."""
    cpu = nginx.cpu()
    t = time.monotonic()
    n = work() or lines
    took = time.monotonic() - t

    return {'rate': n / took, 'cpu': (nginx.cpu() - cpu) * 1e6 / n,
            'seconds': took}


def run_batch(nginx, file_id, n, poll=0.004):
    b = nginx.finish(nginx.create(file_id), poll=poll)

    if b['request_counts'] != {'total': n, 'completed': n, 'failed': 0}:
        raise RuntimeError(f'counts: {b["request_counts"]}')


def run_wrk(nginx, concurrency, bodies, seconds):
    out = subprocess.run(
        ['wrk', '-t1', f'-c{concurrency}', f'-d{seconds}s', '-s',
         HERE + '/post.lua', f'http://127.0.0.1:{nginx.port}{URI}'],
        check=True, capture_output=True, text=True,
        env=dict(os.environ, BODIES=bodies)).stdout

    if 'Non-2xx' in out or 'Socket errors' in out:
        raise RuntimeError(out)

    return int(re.search(r'(\d+) requests in', out).group(1))


def run_script(nginx, cmd, path, n, concurrency):
    out = subprocess.run(
        [*cmd, f'http://127.0.0.1:{nginx.port}{URI}', path, path + '.out',
         str(concurrency)], check=True, capture_output=True, text=True).stdout
    os.unlink(path + '.out')

    if int(out) != n:
        raise RuntimeError(f'{cmd}: {out}')


def p1_p2(table, opts):
    n, short = opts.lines, max(1000, opts.lines // 10)

    with Rig() as rig:
        rig.start_upstream()
        bodies = bodies_file(rig, 'bodies', 1000, 520)
        long_file = lines_file(rig, 'long.jsonl', n, 520)
        short_file = lines_file(rig, 'short.jsonl', short, 520)

        for concurrency in (64, 256):
            for workers in (1, 2):
                node = rig.start_nginx(workers, concurrency)
                file_id = node.upload(long_file)

                def one(what, lines):
                    return lambda: timed(node, lines, what)

                who = {
                    'module': one(lambda: run_batch(node, file_id, n), n),
                    'wrk': one(lambda: run_wrk(node, concurrency, bodies, 2),
                               0),
                    'client': one(lambda: client(
                        node.port, URI, '-c', concurrency, '-f', bodies,
                        '-n', n) and None, n),
                    'asyncio': one(lambda: run_script(
                        node, [PYTHON, HERE + '/asyncio_client.py'],
                        short_file, short, concurrency), short),
                    'node': one(lambda: run_script(
                        node, ['node', HERE + '/node_client.mjs'],
                        short_file, short, concurrency), short),
                }
                r = alternate(opts.rounds, who)
                tag = f'concurrency {concurrency}, {workers} worker' \
                      + 's' * (workers > 1)

                for name in who:
                    table.add('P1', f'{tag}: {name}',
                              middle(r, name, 'rate'), 'lines/s')

                table.add('P1', f'{tag}: module to wrk',
                          ratio(r, 'module', 'wrk', 'rate'), 'x',
                          at_least=1.0)
                table.add('P1', f'{tag}: module to asyncio',
                          ratio(r, 'module', 'asyncio', 'rate'), 'x',
                          at_least=12)

                for name in ('module', 'wrk'):
                    table.add('P2', f'{tag}: {name}',
                              middle(r, name, 'cpu'), 'us of nginx a line')

                table.add('P2', f'{tag}: module to wrk',
                          ratio(r, 'module', 'wrk', 'cpu'), 'x', at_most=1.3)
                rig.stop_nginx()
                wipe(rig)

    # user space only, but exact

    module = guard.count()['instructions per line']
    plain = guard.plain_instructions()
    table.add('P2', 'module', module, 'instructions a line')
    table.add('P2', 'proxied request', plain, 'instructions')
    table.add('P2', 'module to proxied request', module / plain, 'x')


def wipe(rig):
    """A new store and an empty Redis for the next nginx."""
    rig.ask_redis('FLUSHALL')

    for name in os.listdir(rig.store):
        path = f'{rig.store}/{name}'
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def p3_p4(table, opts):
    size = opts.mb << 20

    with Rig() as rig:
        rig.start_upstream()
        node = rig.start_nginx(1)
        path = lines_file(rig, 'big.jsonl', size // 4200, 4096)
        size = os.path.getsize(path)

        def curl(*args):
            out = subprocess.run(['curl', '-sS', '--fail', *args], check=True,
                                 capture_output=True).stdout
            return out

        def upload_module():
            t = time.monotonic()
            file_id = node.upload(path)
            took = time.monotonic() - t
            node.call('DELETE', f'/v1/files/{file_id}')
            return {'rate': size / took / 1e6}

        def upload_plain():
            t = time.monotonic()
            out = curl('-D', '-', '-F', f'file=@{path}',
                       f'http://127.0.0.1:{node.port}/body').decode()
            stored = re.search(r'(?i)x-file: (\S+)', out).group(1)

            with open(stored, 'rb') as f:
                os.fdatasync(f.fileno())

            took = time.monotonic() - t
            os.unlink(stored)
            return {'rate': size / took / 1e6}

        r = alternate(opts.rounds, {'module': upload_module,
                                    'plain': upload_plain})
        table.add('P3', 'upload: module', middle(r, 'module', 'rate'), 'MB/s')
        table.add('P3', 'upload: client_body_in_file_only + fdatasync',
                  middle(r, 'plain', 'rate'), 'MB/s')
        table.add('P3', 'module to plain nginx',
                  ratio(r, 'module', 'plain', 'rate'), 'x', at_least=0.8)

        file_id = node.upload(path)

        def download(uri):
            def go():
                t = time.monotonic()
                got = curl('-o', '/dev/null', '-w', '%{size_download}',
                           f'http://127.0.0.1:{node.port}{uri}')
                took = time.monotonic() - t
                if int(got) != size:
                    raise RuntimeError(f'{uri}: {got}')
                return {'rate': size / took / 1e6}
            return go

        r = alternate(opts.rounds * 3, {
            'module': download(f'/v1/files/{file_id}/content'),
            'static': download('/static/big.jsonl')})
        table.add('P4', 'download: module', middle(r, 'module', 'rate'),
                  'MB/s')
        table.add('P4', 'download: static file', middle(r, 'static', 'rate'),
                  'MB/s')
        table.add('P4', 'module to static file',
                  ratio(r, 'module', 'static', 'rate'), 'x', at_least=0.98)


def p5(table, opts):
    with Rig() as rig:
        rig.start_upstream()
        node = rig.start_nginx(1)
        n = (opts.mb << 20) // 4200
        path = lines_file(rig, 'bad.jsonl', n, 4096, bad=(n,))
        size = os.path.getsize(path)
        file_id = node.upload(path)
        rates, cpus = [], []

        # the last line is bad, so that the batch ends with its validation

        for _ in range(opts.rounds + 2):
            cpu = node.cpu()
            t = time.monotonic()
            b = node.finish(node.create(file_id), states=('failed',))
            rates.append(size / (time.monotonic() - t) / 1e9)
            cpus.append(size / max(0.01, node.cpu() - cpu) / 1e9)

            if [e['line'] for e in b['errors']['data']] != [n]:
                raise RuntimeError(f'errors: {b["errors"]}')

        table.add('P5', f'validation of {size >> 20} MB, create to failed',
                  median(rates), 'GB/s')
        table.add('P5', 'by CPU of the worker and its threads', median(cpus),
                  'GB/s per core', at_least=1.0)

        million = opts.million
        bad = list(range(500, million, million // 1000))
        path = lines_file(rig, 'million.jsonl', million, 100, bad=bad)
        file_id = node.upload(path)
        t = time.monotonic()
        b = node.finish(node.create(file_id), states=('failed',))
        took = time.monotonic() - t
        found = [e['line'] for e in b['errors']['data'] if e['line']]
        table.add('P5', f'{len(bad)} planted defects in {million:,} lines: '
                  'found', len([x for x in found if x in set(bad)]), '',
                  at_least=len(bad))
        table.add('P5', f'{million:,} short lines, create to failed', took,
                  's')
