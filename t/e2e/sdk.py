"""The official Python SDK against the module: sdk.py BASE_URL DIRECTORY PORT
SECRET

TAP on standard output.  The directory takes the files that are uploaded; the
module's webhooks come to the port of 127.0.0.1, signed with the secret.
"""

import hashlib
import http.server
import json
import os
import queue
import sys
import threading
import time

import openai

base, folder, port, secret = sys.argv[1:5]
client = openai.OpenAI(base_url=base, api_key="e2e", max_retries=0)
count = failed = 0
END = {"completed", "failed", "expired", "cancelled"}


def ok(good, name, detail=None):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        print(f"# {detail!r}"[:1000])


def refused(call, kind, name):
    try:
        ok(False, name, call())
    except openai.APIStatusError as e:
        ok(isinstance(e, kind) and isinstance(e.message, str), name, e)


def jsonl(n, **body):
    return "".join(json.dumps({
        "custom_id": f"line-{i}", "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m1", **body, "messages": [
            {"role": "user", "content": f"Zeile № {i}"}]},
    }, ensure_ascii=False) + "\n" for i in range(1, n + 1)).encode()


def create(file, **extra):
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions",
        completion_window="24h", **extra)


def finished(batch):
    for _ in range(600):
        batch = client.batches.retrieve(batch.id)
        if batch.status in END:
            return batch
        time.sleep(0.05)
    raise TimeoutError(batch.id)


def upload(data, name="in.jsonl", **extra):
    return client.files.create(file=(name, data), purpose="batch", **extra)


class Receiver(http.server.BaseHTTPRequestHandler):
    came = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.came.put((body, dict(self.headers.items())))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def webhook(batch):
    """What the SDK makes of the webhook that tells of the batch."""
    while True:
        body, headers = Receiver.came.get(timeout=30)
        event = client.webhooks.unwrap(body, headers, secret=secret)
        if event.data.id == batch.id:
            return event, body, headers


def webhooks(done, failed):
    event, body, headers = webhook(done)
    ok(event.type == "batch.completed" and event.object == "event",
       "webhooks.unwrap: batch.completed", event)
    ok(event.created_at == done.completed_at, "its time", event)
    event, _, _ = webhook(failed)
    ok(event.type == "batch.failed", "webhooks.unwrap: batch.failed", event)
    for name, b, s in (("body", body.replace(b"completed", b"failed"), secret),
                       ("secret", body, "whsec_" + "A" * 32)):
        try:
            ok(False, name, client.webhooks.unwrap(b, headers, secret=s))
        except openai.InvalidWebhookSignatureError as e:
            ok(True, f"webhooks.unwrap: another {name}", e)


def uploads():
    data = jsonl(100)
    name = os.path.join(folder, "parts.jsonl")
    with open(name, "wb") as f:
        f.write(data)
    up = client.uploads.upload_file_chunked(
        file=name, mime_type="text/jsonl", purpose="batch", part_size=4000,
        md5=hashlib.md5(data).hexdigest())
    ok(up.status == "completed", "uploads.upload_file_chunked", up)
    ok(up.file.filename == "parts.jsonl" and up.file.bytes == len(data),
       "its file", up)
    ok(client.files.content(up.file.id).content == data, "its content")
    ok(finished(create(up.file)).request_counts.completed == 100,
       "its batch completes")
    refused(lambda: client.uploads.upload_file_chunked(
        file=data, filename="b", bytes=len(data), mime_type="text/jsonl",
        purpose="batch", md5="0" * 32), openai.BadRequestError,
        "bytes with the MD5 of others")
    large_upload()
    up = client.uploads.create(bytes=1, filename="c", purpose="batch",
                               mime_type="text/jsonl")
    ok(client.uploads.cancel(up.id).status == "cancelled", "uploads.cancel")
    refused(lambda: client.uploads.complete(upload_id=up.id, part_ids=["x"]),
            openai.BadRequestError, "to complete a cancelled upload")


def large_upload():
    """150 MB: three parts of the size that the SDK takes by itself."""
    name = os.path.join(folder, "large.jsonl")
    whole = hashlib.md5()
    with open(name, "wb") as f:
        for i in range(150):
            block = b"".join(b'{"n":%d,"x":"%s"}\n' % (j, b"y" * 1000)
                             for j in range(i * 1024, i * 1024 + 1024))
            whole.update(block)
            f.write(block)
    size = os.path.getsize(name)
    up = client.uploads.upload_file_chunked(
        file=name, mime_type="text/jsonl", purpose="batch",
        md5=whole.hexdigest())
    ok(up.file.bytes == size, "150 MB in parts of 64 MiB", up)
    got = hashlib.md5()
    with client.files.with_streaming_response.content(up.file.id) as r:
        for block in r.iter_bytes():
            got.update(block)
    ok(got.digest() == whole.digest(), "their content")
    client.files.delete(up.file.id)

    # the order is that of part_ids, not that of sending

    data = jsonl(3).splitlines(keepends=True)
    up = client.uploads.create(bytes=sum(map(len, data)), filename="order",
                               purpose="batch", mime_type="text/jsonl")
    ids = [client.uploads.parts.create(up.id, data=x).id
           for x in reversed(data)]
    refused(lambda: client.uploads.complete(
        up.id, part_ids=ids, md5=hashlib.md5(b"".join(data)).hexdigest()),
        openai.BadRequestError, "parts in another order than their MD5")
    up = client.uploads.complete(up.id, part_ids=ids[::-1])
    ok(client.files.content(up.file.id).content == b"".join(data),
       "parts in the order of part_ids")


def main():
    name = os.path.join(folder, "entrée.jsonl")
    with open(name, "wb") as f:
        f.write(jsonl(20))
    with open(name, "rb") as f:
        file = client.files.create(file=f, purpose="batch")
    ok(file.bytes == os.path.getsize(name), "an opened file", file)
    ok(file.filename == "entrée.jsonl", "its name", file)

    raw = client.files.create(file=jsonl(3), purpose="batch")
    ok(raw.bytes == len(jsonl(3)), "bytes without a name", raw)

    short = upload(jsonl(3), expires_after={"anchor": "created_at",
                                            "seconds": 3600})
    ok(abs(short.expires_at - time.time() - 3600) < 60, "expires_after", short)
    ok(client.files.content(file.id).content == jsonl(20), "files.content")
    ids = [f.id for f in client.files.list(limit=2)]
    ok({file.id, raw.id, short.id} <= set(ids) and len(set(ids)) == len(ids),
       "files.list", ids)
    ok(client.files.delete(short.id).deleted, "files.delete")
    refused(lambda: client.files.retrieve(short.id), openai.NotFoundError,
            "a deleted file")

    done = finished(create(file, metadata={"who": "e2e"}))
    ok(done.status == "completed", "completed", done)
    ok((done.request_counts.total, done.request_counts.completed,
        done.request_counts.failed) == (20, 20, 0), "counts", done)
    lines = [json.loads(x) for x in
             client.files.content(done.output_file_id).text.splitlines()]
    ok([x["custom_id"] for x in lines]
       == [f"line-{i}" for i in range(1, 21)], "every line, in order")
    ok(all(x["response"]["body"]["choices"][0]["message"]["content"]
           == f"You said: Zeile № {i}" for i, x in enumerate(lines, 1)),
       "each with its own answer", lines[0])

    uploads()

    bad = finished(create(upload(b'{"custom_id":"a"}\n' + jsonl(2))))
    ok(bad.status == "failed" and bad.errors.data[0].line == 1,
       "a bad line is named", bad)

    webhooks(done, bad)

    made = [create(file).id for _ in range(5)]
    seen = [b.id for b in client.batches.list(limit=2)]
    ok(set(made) <= set(seen) and len(seen) == len(set(seen)),
       "batches.list pages through all", seen)

    slow = create(upload(jsonl(300, mock="slow=1000")))
    ok(client.batches.cancel(slow.id).status in ("cancelling", "cancelled"),
       "batches.cancel")
    ok(finished(slow).status == "cancelled", "it is cancelled in the end")
    refused(lambda: client.batches.cancel(done.id), openai.ConflictError,
            "to cancel a completed batch")
    refused(lambda: create(file, extra_body={"completion_window": "3 moons"}),
            openai.BadRequestError, "a window that does not exist")


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()

try:
    main()
except Exception as e:  # a test that dies is a test that fails
    ok(False, "no exception", e)

print(f"1..{count}")
sys.exit(1 if failed else 0)
