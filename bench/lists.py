"""What long lists cost everybody else.

    python3 bench/lists.py [-f FILES] [-c CLIENTS] [-t SECONDS]

8,000 files in the index; 8 clients list them with the greatest limit, again
and again, while one other request in 5 ms is timed on the same worker: a GET
of one file, which asks the index, and a proxied request, which does not.
Prints the latencies of both, without and with the lists, the worker's memory,
and how many lists were answered.  "make build" and bench/build.sh come first.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import subprocess

import rig

BODY = (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch'
        b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a '
        b'file with a name of some length, as people have them.jsonl"\r\n\r\n'
        b'{}\n\r\n--b--\r\n')


def upload(port, n):
    c = http.client.HTTPConnection('127.0.0.1', port)
    last = None

    for _ in range(n):
        c.request('POST', '/v1/files', BODY,
                  {'Content-Type': 'multipart/form-data; boundary=b'})
        last = json.loads(c.getresponse().read())['id']

    return last


def probes(nginx, file_id, seconds):
    """Two probes, one after the other: their uris must not share a turn."""
    out = {}

    for name, uri in (('file', f'/v1/files/{file_id}'),
                      ('proxied', '/v1/models')):
        out[name] = rig.Probe(nginx.port, uri, 200, seconds).result()

    return out


def lists(port, clients):
    """Clients that read as fast as they can; curl's own loop of requests."""
    uri = f'http://127.0.0.1:{port}/v1/files?limit=10000'

    return [subprocess.Popen(
        ['nice', '-n', '19', 'curl', '-sS', '-o', '/dev/null', '-w',
         '%{stderr}%{http_code} %{size_download}\n', f'{uri}&n=[1-100000]'],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(clients)]


def row(name, probe):
    print(f'| {name:22} | {probe["p50"]:8.2f} | {probe["p99"]:8.2f} |'
          f' {probe["max"]:8.2f} | {probe["requests"]:6} | {probe["errors"]} |',
          flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('-f', type=int, default=8000)
    p.add_argument('-c', type=int, default=8)
    p.add_argument('-t', type=int, default=10)
    args = p.parse_args()

    with rig.Rig('lists') as r:
        r.start_upstream()
        nginx = r.start_nginx(workers=1)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda _: upload(nginx.port, args.f // 8),
                                range(8)))

        print('| probe, ms              |   median |      p99 |      max |'
              '      n | errors |\n|---|---|---|---|---|---|')

        for name, probe in probes(nginx, ids[0], args.t).items():
            row(name, probe)

        nginx.reset_memory()
        rss = nginx.memory('VmRSS')
        clients = lists(nginx.port, args.c)

        for name, probe in probes(nginx, ids[0], args.t).items():
            row(f'{name}, {args.c} list', probe)

        for c in clients:
            c.terminate()

        done = [line.split() for c in clients
                for line in c.communicate()[1].splitlines()]
        sizes = {size for code, size in done if code == '200'}

        print(f'\n{len(done)} lists of {args.f} files in {2 * args.t} s,'
              f' sizes {sorted(sizes)[:3]}, memory {rss >> 20} MB,'
              f' at most {nginx.memory() >> 20} MB')


if __name__ == '__main__':
    os.environ.setdefault('PYTHONDONTWRITEBYTECODE', '1')
    main()
