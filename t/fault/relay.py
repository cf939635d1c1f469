# Copyright (C) the ngx_http_batch_module authors
#
# Between a node and Redis, so that the two can be parted: a unix socket whose
# connections are passed on.  Cut off silently, bytes wait where they are, and
# arrive when it is healed; else connections are closed, and new ones, too.

import os
import socket
import threading


class Relay(threading.Thread):
    def __init__(self, path, target):
        super().__init__(daemon=True, name='relay')
        self.target = target
        self.through = threading.Event()
        self.through.set()
        self.closed = False
        self.lock = threading.Lock()
        self.sockets = set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o777)
        self.listener.listen(64)

    def run(self):
        while True:
            one, _ = self.listener.accept()
            self.through.wait()
            two = socket.socket(socket.AF_UNIX)

            try:
                two.connect(self.target)
            except OSError:
                one.close()
                two.close()
                continue

            with self.lock:
                self.sockets |= {one, two}
                closed = self.closed

            if closed:
                self.end(one, two)
                continue

            for a, b in ((one, two), (two, one)):
                threading.Thread(target=self.pump, args=(a, b),
                                 daemon=True).start()

    def pump(self, a, b):
        while True:
            try:
                data = a.recv(65536)
                self.through.wait()

                if not data:
                    break

                b.sendall(data)
            except OSError:
                break

        self.end(a, b)

    def end(self, *pair):
        for s in pair:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

            s.close()

        with self.lock:
            self.sockets -= set(pair)

    def cut(self, silent):
        if silent:
            self.through.clear()
            return

        with self.lock:
            self.closed = True
            sockets = list(self.sockets)

        self.end(*sockets)

    def heal(self):
        with self.lock:
            self.closed = False

        self.through.set()
