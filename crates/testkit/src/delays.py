"""Carries frames between two interfaces, each after a delay of its own: those that wait less overtake.

    delays.py ONE OTHER SECONDS
"""

import heapq
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4

names, most = sys.argv[1:3], float(sys.argv[3])
ends = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) for _ in names]
for end, name in zip(ends, names):
    end.bind((name, 0))
print("ready", flush=True)
waiting = []
number = 0
while True:
    pause = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    for end in select.select(ends, [], [], pause)[0]:
        frame, address = end.recvfrom(65536)
        # What was sent here is seen here as well.
        if address[2] != PACKET_OUTGOING:
            number += 1
            due = time.monotonic() + random.random() * most
            heapq.heappush(waiting, (due, number, ends[1 - ends.index(end)], frame))
    while waiting and waiting[0][0] <= time.monotonic():
        _, _, other, frame = heapq.heappop(waiting)
        try:
            other.send(frame)
        except OSError:
            # The other end is down: the frame is lost, as on a cable.
            pass
