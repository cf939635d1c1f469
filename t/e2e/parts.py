"""A large file in parts of 64 MiB: parts.py BASE_URL MEGABYTES PID...

The parts are sent out of order, four at a time, every fourth one chunked, then
joined, checked by MD5 and read back.  Meanwhile another client asks for a list
again and again; how long it waits is said, not judged.  The processes of the
server (PID...) must not grow with the file.  TAP on standard output; only the
standard library is needed.
"""

import hashlib
import http.client
import json
import random
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

base, size, pids = sys.argv[1], int(sys.argv[2]) << 20, sys.argv[3:]
host, prefix = urllib.parse.urlsplit(base).netloc, urllib.parse.urlsplit(base).path
PART, MIB = 64 << 20, 1 << 20
LINE = b'{"x":"' + b"abcdefgh" * 127 + b'"}\n'
BLOCK = (LINE * (MIB // len(LINE) + 1))[:MIB]
GROWTH = 48 << 10                       # of one process, kB
count = failed = 0


def ok(good, name, detail=None):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        print(f"# {detail!r}"[:500])


def call(method, path, body=None, headers={}, chunked=False):
    c = http.client.HTTPConnection(host, timeout=600)
    c.request(method, prefix + path, body, headers, encode_chunked=chunked)
    r = c.getresponse()
    text = r.read()
    c.close()
    return r.status, text


def post(path, data):
    status, text = call("POST", path, json.dumps(data),
                        {"Content-Type": "application/json"})
    return status, json.loads(text)


def pieces(number):
    """Part by part the same, but for its first bytes."""
    left = min(PART, size - number * PART)
    head = b"%08d" % number
    while left > 0:
        block = head + BLOCK[len(head):]
        yield block[:left]
        left -= MIB
        head = b""


def add(upload, number):
    boundary = f"part{number}"
    before = (f"--{boundary}\r\nContent-Disposition: form-data; "
              "name=\"data\"; filename=\"blob\"\r\n\r\n").encode()
    after = f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    chunked = number % 4 == 3
    length = min(PART, size - number * PART)

    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(len(before) + length + len(after))

    def body():
        yield before
        yield from pieces(number)
        yield after

    status, text = call("POST", f"/uploads/{upload}/parts", body(), headers,
                        chunked)
    if status != 200:
        raise RuntimeError(f"part {number}: {status} {text!r}")
    return json.loads(text)["id"]


def memory():
    """The resident memory of each process, kB."""
    sizes = {}
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    sizes[pid] = int(line.split()[1])
    return sizes


class Watch(threading.Thread):
    """Another client, and an eye on the memory."""

    def __init__(self):
        super().__init__(daemon=True)
        self.waits, self.bad, self.first, self.peak = [], [], memory(), {}
        self.going = True

    def run(self):
        while self.going:
            t = time.monotonic()
            status, text = call("GET", "/files?limit=1")
            self.waits.append(time.monotonic() - t)
            if status != 200:
                self.bad.append((status, text))
            for pid, kb in memory().items():
                self.peak[pid] = max(self.peak.get(pid, 0), kb)
            time.sleep(0.05)

    def said(self, what):
        waits, self.waits = sorted(self.waits), []
        if waits:
            print(f"# {what}: the other client was answered {len(waits)} "
                  f"times, in {waits[len(waits) // 2] * 1e3:.1f} ms (half), "
                  f"{waits[-1] * 1e3:.1f} ms at most", flush=True)
        return len(waits)


def download(file, md5):
    c = http.client.HTTPConnection(host, timeout=600)
    c.request("GET", f"{prefix}/files/{file}/content")
    r = c.getresponse()
    got = hashlib.md5()
    while block := r.read(MIB):
        got.update(block)
    ok(r.status == 200 and got.hexdigest() == md5, "the download is the same")


def main():
    n = (size + PART - 1) // PART
    whole = hashlib.md5()
    for number in range(n):
        for piece in pieces(number):
            whole.update(piece)
    md5 = whole.hexdigest()

    status, upload = post("/uploads", {
        "filename": "large", "purpose": "vision", "bytes": size,
        "mime_type": "text/plain"})
    ok(status == 200, f"an upload of {size >> 20} MB", upload)

    watch = Watch()
    watch.start()
    t = time.monotonic()
    order = random.sample(range(n), n)
    with ThreadPoolExecutor(4) as pool:
        ids = dict(zip(order, pool.map(
            lambda number: add(upload["id"], number), order)))
    t = time.monotonic() - t
    print(f"# sent in {t:.1f} s, {size / t / 1e6:.0f} MB/s")
    ok(len(set(ids.values())) == n, f"{n} parts, out of order")
    watch.said("while parts are sent")

    path = f"/uploads/{upload['id']}/complete"
    parts = [ids[i] for i in range(n)]
    status, answer = post(path, {"part_ids": parts[::-1], "md5": md5})
    ok(n < 2 or status == 400, "the MD5 of another order", answer)
    watch.said("while joined in the wrong order")

    t = time.monotonic()
    status, answer = post(path, {"part_ids": parts, "md5": md5})
    t = time.monotonic() - t
    print(f"# joined and checked in {t:.1f} s, {size / t / 1e6:.0f} MB/s")
    ok(status == 200 and answer["status"] == "completed", "completed", answer)
    ok(answer["file"]["bytes"] == size, "all bytes", answer)
    ok(watch.said("while joined") > 0, "others were answered meanwhile")

    file = answer["file"]["id"]
    download(file, md5)
    watch.said("while downloaded")
    watch.going = False
    watch.join()
    ok(not watch.bad, "the other client had no error", watch.bad)

    grown = {p: watch.peak.get(p, 0) - kb for p, kb in watch.first.items()}
    print(f"# memory at first {watch.first} kB, grown by {grown} kB")
    ok(all(kb < GROWTH for kb in grown.values()), "memory stays flat", grown)

    status, _ = call("DELETE", f"/files/{file}")
    ok(status == 200, "deleted")


try:
    main()
except Exception as e:  # a test that dies is a test that fails
    ok(False, "no exception", e)

print(f"1..{count}")
sys.exit(1 if failed else 0)
