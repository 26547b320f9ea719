#!/usr/bin/env bash
# h2 4.3.0 (Python), a client: a GOAWAY without an error, which names the last stream that will be served, closes the whole
# connection's state machine. The response on that very stream, which a server may send after it (RFC 9113 6.8: "Activity on streams
# numbered lower than or equal to the last stream identifier might still complete successfully"), raises ProtocolError. So a client on it
# loses what was under way whenever a server leaves in order; whoever uses it has to keep GOAWAY frames from it, and look at them himself.
# The same response before the GOAWAY is taken.
#
# Seen: "before: 200 all; after: ProtocolError: Invalid input ConnectionInputs.RECV_HEADERS in state ConnectionState.CLOSED".
set -euo pipefail

command -v python3 >/dev/null || { echo "python3 with venv is needed" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check h2==4.3.0 hpack==4.1.0 hyperframe==6.1.0
cat >"$work/leaves.py" <<'PYTHON'
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame


def answered(goaway_first):
    client, server = (H2Connection(H2Configuration(client_side=side, header_encoding="utf-8")) for side in (True, False))
    client.initiate_connection()
    server.initiate_connection()
    request = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]
    client.send_headers(1, request, end_stream=True)
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    server.send_headers(1, [(":status", "200")])
    server.send_data(1, b"all", end_stream=True)
    answer, goaway = server.data_to_send(), GoAwayFrame(0, last_stream_id=1, error_code=0).serialize()
    try:
        events = client.receive_data(goaway + answer if goaway_first else answer + goaway)
    except ProtocolError as error:
        return f"ProtocolError: {error}"
    status = [dict(event.headers)[":status"] for event in events if isinstance(event, ResponseReceived)]
    body = [event.data.decode() for event in events if isinstance(event, DataReceived)]
    return " ".join(status + body)


print(f"before: {answered(False)}; after: {answered(True)}")
PYTHON
seen=$("$work/venv/bin/python" "$work/leaves.py")
echo "$seen"
[ "$seen" = "before: 200 all; after: ProtocolError: Invalid input ConnectionInputs.RECV_HEADERS in state ConnectionState.CLOSED" ]
