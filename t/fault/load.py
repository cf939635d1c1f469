# Copyright (C) the ngx_http_batch_module authors
#
# The clients: customers with one batch after another, and a visitor who does
# everything else.  Each is a thread with a client and a random of its own.

import json
import threading
import time
import traceback

from client import Client
from history import TERMINAL
from lines import Spec, verify


class Actor(threading.Thread):
    def __init__(self, driver, number):
        super().__init__(name='%s-%d' % (type(self).__name__, number),
                         daemon=True)
        self.driver = driver
        self.history = driver.history
        self.number = number
        self.rng = driver.random('%s %d' % (type(self).__name__, number))
        self.client = Client(driver.cluster, self.history, self.rng)
        self.n = 0

    def run(self):
        while not self.driver.ending.is_set():
            try:
                self.n += 1
                self.turn()
            except Exception as e:
                self.history.bad('%s: %s' % (self.name, ''.join(
                    traceback.format_exception(e))[-600:]))
                return

    def tag(self):
        return 'b%x.%d.%d' % (self.driver.seed, self.number, self.n)

    def expect(self, reply, statuses, what):
        """True if the answer is one of those; None was told already"""
        if reply is None:
            return False

        if reply.status not in statuses:
            self.history.bad('%s: %d %r' % (what, reply.status,
                                            reply.body[:200]))
            return False

        return True

    def download(self, file_id):
        deleted = self.history.files.get(file_id, {}).get('deleted', False)
        reply = self.client.content(file_id)

        if reply is not None and reply.status == 200:
            self.history.result_seen(file_id, reply.body)

        if file_id in self.history.files:
            self.history.check_file(file_id, reply, deleted)

        return reply

    def delete(self, file_id):
        self.history.file_deleting(file_id)
        reply = self.client.delete(file_id)

        # 404: an earlier attempt did it, and its answer was lost

        if self.expect(reply, (200, 404), 'delete ' + file_id):
            self.history.file_deleted(file_id)


class Customer(Actor):
    def turn(self):
        options = self.driver.options
        spec = Spec(self.tag(), self.rng.randint(1, options['lines']),
                    self.rng, options['slow'])
        data = spec.input()
        name = spec.tag + '.jsonl'
        key = spec.tag + '-f' if spec.key else None

        with self.history.lock:
            self.history.specs[spec.tag] = spec
            self.history.uploads[name] = {'key': spec.key, 'acked': False}

        reply = self.client.upload(name, data, key)

        if not self.expect(reply, (200,), 'upload'):
            return

        spec.file_id = reply.json['id']
        self.history.file_acked(reply.json, data)
        self.history.uploads[name]['acked'] = True

        reply = self.client.create(spec.file_id, spec.tag,
                                   spec.tag + '-b' if spec.key else None)

        if not self.expect(reply, (200,), 'create'):
            return

        spec.batch_id = reply.json['id']

        with self.history.lock:
            self.history.batches[spec.batch_id] = spec

        self.history.observe(reply.json, reply.begun, reply.ended)
        batch = self.follow(spec)

        if batch:
            self.result(spec, batch)

    def follow(self, spec):
        """polls to the end, with a cancel or a delete on the way"""
        end = time.time() + self.driver.options['patience']
        cancel_at = None
        delete_input = self.rng.random() < 0.2

        if self.rng.random() < 0.2:
            cancel_at = time.time() + self.rng.random() * 3

        while time.time() < end:
            reply = self.client.batch(spec.batch_id)

            if not self.expect(reply, (200,), 'batch ' + spec.batch_id):
                return None

            batch = reply.json
            self.history.observe(batch, reply.begun, reply.ended)

            if batch['status'] in TERMINAL:
                return batch

            if cancel_at and time.time() > cancel_at:
                cancel_at = None
                self.cancel(spec)

            if delete_input and batch['status'] == 'in_progress':
                delete_input = False
                spec.input_deleted = True
                self.delete(spec.file_id)

            time.sleep(0.03 + self.rng.random() * 0.07)

        self.history.bad('%s: still %s after %d s, %s'
                         % (spec.batch_id, batch['status'],
                            self.driver.options['patience'],
                            batch['request_counts']))
        return None

    def cancel(self, spec):
        spec.cancelling = True
        reply = self.client.cancel(spec.batch_id)

        if self.expect(reply, (200, 409), 'cancel ' + spec.batch_id) \
                and reply.status == 200:
            spec.cancelled = True
            self.history.observe(reply.json, reply.begun, reply.ended)

    def result(self, spec, batch):
        self.judge(spec, batch)

        if self.rng.random() < 0.1 and batch['output_file_id']:
            self.delete(batch['output_file_id'])

    def judge(self, spec, batch):
        judge(self, spec, batch)


def judge(actor, spec, batch):
    """a batch that has ended: its end, and its files"""
    status = batch['status']
    history = actor.history

    if spec.cancelled and spec.batch_id == batch['id'] \
            and status != 'cancelled':
        history.bad('%s: its cancel was acknowledged, and it is %s'
                    % (batch['id'], status))

    if status == 'failed' and spec.input_deleted \
            and spec.batch_id != batch['id']:
        return                       # a second one, never acknowledged

    if status == 'cancelled' and not spec.cancelling \
            or status in ('failed', 'expired'):
        history.bad('%s: %s, %s' % (batch['id'], status, batch['errors']))
        return

    files = []

    for key in ('output_file_id', 'error_file_id'):
        reply = actor.download(batch[key]) if batch[key] else None

        if reply is not None and reply.status == 404 \
                and history.files.get(batch[key], {}).get('deleting'):
            return

        files.append(reply.body if reply is not None else None)

        if batch[key] and (reply is None or reply.status != 200):
            history.bad('%s: %s cannot be read' % (batch['id'], key))
            return

    if batch['request_counts']['total'] == 0 and status == 'cancelled':
        return                       # cancelled before it was validated

    for text in verify(spec, batch, *files, history.tally):
        history.bad('%s: %s' % (batch['id'], text))


class Visitor(Actor):
    def turn(self):
        self.rng.choices((self.lists, self.small_file, self.parts, self.look),
                         (2, 3, 1, 6))[0]()
        time.sleep(self.rng.random() * self.driver.options['pause'])

    def lists(self):
        what = self.rng.choice(('files', 'batches'))
        reply = self.client.call('GET', '/v1/%s?limit=%d'
                                 % (what, self.rng.randint(1, 50)))
        self.expect(reply, (200,), 'list of ' + what)

    def look(self):
        with self.history.lock:
            known = list(self.history.batches)
            files = list(self.history.files)

        if known and self.rng.random() < 0.6:
            batch = self.rng.choice(known)
            reply = self.client.batch(batch)

            if self.expect(reply, (200,), 'batch ' + batch):
                self.history.observe(reply.json, reply.begun, reply.ended)

        elif files:
            self.download(self.rng.choice(files))

    def data(self):
        return b'{"n":"%s"}\n' % self.tag().encode() \
            * self.rng.randint(1, 5000)

    def small_file(self):
        data = self.data()
        name = 'v' + self.tag()
        key = self.rng.random() < 0.5
        self.history.uploads[name] = {'key': key, 'acked': False}
        reply = self.client.upload(name, data, name if key else None)

        if not self.expect(reply, (200,), 'upload'):
            return

        self.history.file_acked(reply.json, data)
        self.history.uploads[name]['acked'] = True
        self.download(reply.json['id'])

        if self.rng.random() < 0.5:
            self.delete(reply.json['id'])

    def parts(self):
        """a file in parts, one behind the other"""
        data = self.data()
        json_type = {'Content-Type': 'application/json'}
        reply = self.client.call('POST', '/v1/uploads', json.dumps(
            {'filename': 'p' + self.tag(), 'purpose': 'batch',
             'bytes': len(data), 'mime_type': 'application/jsonl'}), json_type)

        if not self.expect(reply, (200,), 'uploads'):
            return

        path = '/v1/uploads/' + reply.json['id']
        step = len(data) // self.rng.randint(1, 4) + 1
        ids = []

        for at in range(0, len(data), step):
            reply = self.client.call(
                'POST', path + '/parts',
                b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n'
                + data[at:at + step] + b'\r\n--x--\r\n',
                {'Content-Type': 'multipart/form-data; boundary=x'})

            if not self.expect(reply, (200,), 'part'):
                return

            ids.append(reply.json['id'])

        reply = self.client.call('POST', path + '/complete',
                                 json.dumps({'part_ids': ids}), json_type)

        if self.expect(reply, (200,), 'complete'):
            self.history.file_acked(reply.json['file'], data)
            self.download(reply.json['file']['id'])
