#!/usr/bin/env python3
"""Recomputes a journal from `journal(idx, head, body)` alone, with nothing of Greffe: the standard library and RFC 6962.

    recompute.py greffe.db [WORD ...]

Checks that indices are dense from 0, that each head says its own index, that times never go back, that each commitment matches its body,
that each salt has 16 bytes and is its own, that each room's seqs are dense from 1, and that none of the WORDs stands in any head. Prints one
JSON object with `size` and `root` (hex) of the tree, to be compared with what `greffe-server check --json` says. Exits 1 on a violation.
"""

import hashlib
import json
import sqlite3
import sys


def fields(data):
    """Walks an encoded protobuf message: (number, value) for each field; varints as int, the rest as bytes."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(data):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
        elif kind == 2:
            length = varint()
            assert position + length <= len(data), "a field reaches beyond the end"
            yield number, data[position : position + length]
            position += length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            yield number, data[position : position + length]
            position += length
        else:
            raise AssertionError(f"wire type {kind}")


def tree_root(leaves):
    """The Merkle tree hash of RFC 6962, section 2.1, of leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def main(path, words):
    rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("SELECT idx, head, body FROM journal ORDER BY idx")
    leaves, salts, seqs, newest_time, kinds = [], set(), {}, (0, 0), {}
    for expected, (index, head_bytes, body_bytes) in enumerate(rows):
        assert index == expected, f"row {expected} has index {index}"
        head = dict(fields(head_bytes))
        assert head.get(1, 0) == index, f"the head of {index} says {head.get(1, 0)}"
        kinds[head[5]] = kinds.get(head[5], 0) + 1

        timestamp = dict(fields(head[2]))
        time = (timestamp.get(1, 0), timestamp.get(2, 0))
        assert time >= newest_time, f"time goes back at {index}"
        newest_time = time

        room, seq = head.get(3, b""), head.get(4, 0)
        if seq:
            assert room, f"{index} has a seq and no room"
            assert seq == seqs.get(room, 0) + 1, f"seq {seq} after {seqs.get(room, 0)} at {index}"
            seqs[room] = seq

        for word in words:
            assert word not in head_bytes, f"{word!r} stands in the head of {index}"
        assert body_bytes is not None, f"{index} has no body"
        assert head[9] == hashlib.sha256(body_bytes).digest(), f"the commitment of {index} is not its body's"
        body = dict(fields(body_bytes))
        salt = body[1]
        assert len(salt) == 16 and salt not in salts, f"the salt of {index} is not its own"
        salts.add(salt)
        request_id = body.get(2, b"")
        assert not request_id or request_id not in head_bytes, f"the request id of {index} stands in its head"
        leaves.append(hashlib.sha256(b"\x00" + head_bytes).digest())
    sys.setrecursionlimit(10_000)
    rooms = {room.decode(): seq for room, seq in seqs.items()}
    leaf_hashes = hashlib.sha256(b"".join(leaves)).hexdigest()
    print(json.dumps({"size": len(leaves), "root": tree_root(leaves).hex(), "leaves": leaf_hashes, "rooms": rooms, "kinds": kinds}))


if __name__ == "__main__":
    try:
        main(sys.argv[1], [word.encode() for word in sys.argv[2:]])
    except AssertionError as violation:
        sys.exit(f"violation: {violation}")
