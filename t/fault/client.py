# Copyright (C) the ngx_http_batch_module authors
#
# A client of the API.  Each request and how it failed, if it did, is told to
# the history, which decides in the end whether a fault explains it.

import http.client
import json
import socket
import time
import uuid


class Reply:
    """status 0: none, and failure says why: refused, cut, timeout"""

    def __init__(self, status=0, headers=None, body=b'', failure=''):
        self.status = status
        self.headers = headers or {}
        self.body = body
        self.failure = failure
        self.begun = self.ended = 0.0

    @property
    def json(self):
        return json.loads(self.body)


def request(port, method, path, body=None, headers=None, timeout=30):
    """one request on a connection of its own"""
    begun = time.time()
    connection = http.client.HTTPConnection('127.0.0.1', port,
                                            timeout=timeout)

    try:
        connection.request(method, path, body=body,
                           headers=dict(headers or {}, Connection='close'))
        answer = connection.getresponse()
        data = answer.read()
        reply = Reply(answer.status,
                      {k.lower(): v for k, v in answer.getheaders()}, data)
    except ConnectionRefusedError:
        reply = Reply(failure='refused')
    except socket.timeout:
        reply = Reply(failure='timeout')
    except (OSError, http.client.HTTPException):
        reply = Reply(failure='cut')
    finally:
        connection.close()

    reply.begun = begun
    reply.ended = time.time()

    return reply


class Client:
    """
    Repeats what failed until there is an answer, as a client with patience
    does.  Belongs to one thread.
    """

    def __init__(self, cluster, history, rng):
        self.cluster = cluster
        self.history = history
        self.rng = rng

    def once(self, method, path, body=None, headers=None):
        ports = self.cluster.api_ports()

        if not ports:
            now = time.time()
            reply = Reply(failure='refused')
            reply.begun = reply.ended = now
        else:
            reply = request(self.rng.choice(ports), method, path, body,
                            headers)

        self.history.answered(method, path, reply)

        return reply

    def call(self, method, path, body=None, headers=None, patience=120):
        """the first answer below 500; None when patience is over"""
        end = time.time() + patience

        while time.time() < end:
            reply = self.once(method, path, body, headers)

            if 0 < reply.status < 500:
                return reply

            time.sleep(0.05 + self.rng.random() * 0.1)

        self.history.bad('%s %s: no answer within %d s'
                         % (method, path, patience))

        return None

    # --- the calls ----------------------------------------------------------

    def upload(self, name, data, key=None):
        border = uuid.UUID(int=self.rng.getrandbits(128)).hex
        body = b''.join((
            b'--%s\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n'
            b'batch\r\n' % border.encode(),
            b'--%s\r\nContent-Disposition: form-data; name="file"; '
            b'filename="%s"\r\n\r\n' % (border.encode(), name.encode()),
            data, b'\r\n--%s--\r\n' % border.encode()))

        headers = {'Content-Type': 'multipart/form-data; boundary=' + border}

        if key:
            headers['Idempotency-Key'] = key

        return self.call('POST', '/v1/files', body, headers)

    def create(self, file_id, tag, key=None):
        headers = {'Content-Type': 'application/json'}

        if key:
            headers['Idempotency-Key'] = key

        return self.call('POST', '/v1/batches', json.dumps(
            {'input_file_id': file_id, 'endpoint': '/v1/chat/completions',
             'completion_window': '24h', 'metadata': {'tag': tag}}), headers)

    def batch(self, batch_id):
        return self.call('GET', '/v1/batches/' + batch_id)

    def cancel(self, batch_id):
        return self.call('POST', '/v1/batches/%s/cancel' % batch_id)

    def content(self, file_id):
        return self.call('GET', '/v1/files/%s/content' % file_id)

    def delete(self, file_id):
        return self.call('DELETE', '/v1/files/' + file_id)

    def listed(self, what):
        """all objects of a list, page by page; None if it could not be read"""
        found = []
        after = ''

        while True:
            reply = self.call('GET', '/v1/%s?limit=100%s' % (what, after))

            if reply is None or reply.status != 200:
                return None

            page = reply.json
            found += page['data']

            if not page['has_more']:
                return found

            after = '&after=' + page['last_id']
