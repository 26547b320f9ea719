"""A client of HTTP/2 that does exactly what a test says, right or wrong, and prints what came."""
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hyperframe.frame as frames


class Client:
    """One connection. Streams are numbered 1, 3, 5, in the order of their requests."""

    def __init__(self, address, tls=None, preface=True, **settings):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="app.example")
        config = h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=True,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings.update(settings)
        if preface:
            self.h2.initiate_connection()
        self.next = 1
        self.answers = {}
        self.goaway = []
        self.ended = False
        self.received = b""
        # Whether what comes makes room for more.
        self.reads = True
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def raw(self, *parts):
        for part in parts:
            self.socket.sendall(part if isinstance(part, bytes) else part.serialize())

    def request(self, path="/", method="GET", fields=(), end=True, authority="test", scheme="http", pseudo=None):
        stream = self.next
        self.next += 2
        head = pseudo
        if head is None:
            head = [(":method", method), (":scheme", scheme), (":path", path)]
            if authority is not None:
                head.append((":authority", authority))
        self.h2.send_headers(stream, head + list(fields), end_stream=end)
        self.answers[stream] = Answer()
        self.flush()
        return stream

    def data(self, stream, content, end=False):
        """Sends content as far as the windows allow, and waits for more."""
        while content:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                self.step()
                continue
            self.h2.send_data(stream, content[:room])
            content = content[room:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def step(self):
        """Takes what comes next. Not whether the connection is over."""
        try:
            received = self.socket.recv(65536)
        except ConnectionResetError:
            received = b""
        if not received:
            self.ended = True
            return False
        self.received += received
        while len(self.received) >= 9:
            length, kind = int.from_bytes(self.received[:3], "big"), self.received[3]
            frame, rest = self.received[:9 + length], self.received[9 + length:]
            if len(frame) < 9 + length:
                break
            self.received = rest
            if kind == 7:
                # The library takes it for the end, and is surprised by what follows.
                self.goaway.append((int.from_bytes(frame[13:17], "big"), int.from_bytes(frame[9:13], "big")))
                continue
            for event in self.h2.receive_data(frame):
                self.see(event)
        try:
            self.flush()
        except OSError:
            pass
        return True

    def see(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        if answer is None:
            pass
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.ResponseReceived):
            answer.fields = event.headers
            answer.status = dict(event.headers)[":status"]
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            answer.over = True
        elif isinstance(event, h2.events.StreamReset):
            answer.over = True
            answer.reset = int(event.error_code)

    def wait(self, *streams):
        """Until these are over, or the connection is."""
        while not all(self.answers[stream].over for stream in streams) and self.step():
            pass
        return [self.answers[stream] for stream in streams]

    def get(self, path="/", **more):
        return self.wait(self.request(path, **more))[0]

    def until(self, condition):
        while not condition() and self.step():
            pass

    def rest(self):
        """Until the connection is over."""
        while self.step():
            pass


class Answer:
    def __init__(self):
        self.status = None
        self.fields = []
        self.interim = []
        self.body = b""
        self.trailers = None
        self.over = False
        self.reset = None

    def field(self, name):
        return dict(self.fields).get(name)


def is_equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


ADDRESS = sys.argv[1] if len(sys.argv) > 1 else ""
