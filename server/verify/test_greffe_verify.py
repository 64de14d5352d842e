"""Tests of greffe_verify.py: exports that are as they have to be verify, and whatever is done to one of them is found.

The exports are made here, by a second writer of the format: its own protobuf, tree, notes and selection of rows, all after RECORD-FORMAT.md.

GREFFE_TEST_EXPORT_MUTATIONS   random mutations of the exports made here and of each sample (default 300)
GREFFE_SAMPLE_EXPORTS          a directory whose subdirectories and .tar files are exports of a real server: they verify, and mutations are found
GREFFE_TEST_SEED               where the random mutations begin (default: the clock); the seed is in the message of a failure
"""

import base64
import contextlib
import datetime
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import greffe_verify  # noqa: E402

MUTATIONS = int(os.environ.get("GREFFE_TEST_EXPORT_MUTATIONS", "300"))
SEED = int(os.environ.get("GREFFE_TEST_SEED") or time.time_ns() % 10**9)
JOURNAL, JOURNAL_2 = "4f" * 16, "5a" * 16
ALICE, BOB, CAROL = "ualice", "ubob", "ucarol"
GENERAL, DEN, PAIR, QUIET = "rgeneral", "rden", "rpair", "rquiet"
START = 1_790_000_000_000_000  # microseconds since 1970
MINUTE = 60_000_000


def sha256(data):
    return hashlib.sha256(data).digest()


# ---- Protobuf, written ------------------------------------------------------------------------------------------------------------------


def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, value, keep_empty=False):
    """A field: of an int, a str, bytes, or a list of these; as proto3 does, what is empty is left out."""
    if isinstance(value, list):
        return b"".join(field(number, item, True) for item in value)
    if value is None or (not value and not keep_empty):
        return b""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields):
    return b"".join(field(number, value) for number, value in fields)


def timestamp(micros):
    return None if micros is None else message((1, micros // 10**6), (2, micros % 10**6 * 1000))


def scope_bytes(scope):
    return field(1, scope["users"]) + field(2, scope["rooms"]) + field(3, timestamp(scope["from"])) + field(4, timestamp(scope["to"]))


# ---- Keys, notes, the tree --------------------------------------------------------------------------------------------------------------


class Signer:
    """A key that signs under the name of a journal."""

    def __init__(self, seed, journal=JOURNAL):
        self.private = Ed25519PrivateKey.from_private_bytes(sha256(seed.encode()))
        self.name = "greffe/" + journal
        public = b"\x01" + self.private.public_key().public_bytes_raw()
        self.id = sha256(self.name.encode() + b"\n" + public)[:4]
        self.text = f"{self.name}+{self.id.hex()}+{base64.b64encode(public).decode()}"

    def sign(self, text):
        signature = base64.b64encode(self.id + self.private.sign(text.encode())).decode()
        return f"{text}\n— {self.name} {signature}\n".encode()


def tree_root(leaves):
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + tree_root(leaves[:split]) + tree_root(leaves[split:]))


def gaps(leaves, marks, rows):
    """The file `tree`: subtrees between the rows that are there, cut at the marks."""
    out, position = [], 0
    while position < len(leaves):
        if position in rows:
            position += 1
            continue
        following = min(mark for mark in marks if mark > position)
        width = 1
        while position % (width * 2) == 0 and position + width * 2 <= following:
            width *= 2
        out.append(tree_root(leaves[position : position + width]))
        position += width
    return b"".join(out)


# ---- A journal --------------------------------------------------------------------------------------------------------------------------

NAMES = {
    10: "message_posted", 11: "message_edited", 12: "message_deleted", 13: "reaction_added", 14: "reaction_removed", 20: "member_joined",
    21: "member_left", 22: "member_invited", 23: "member_removed", 24: "member_role_changed", 30: "room_created", 31: "room_updated",
    32: "room_archived", 40: "file_shared", 41: "file_removed", 50: "user_registered", 51: "user_updated", 52: "password_changed",
    54: "user_disabled", 60: "logged_in", 62: "session_seen", 63: "session_ended", 70: "journal_created", 72: "restored", 73: "key_added",
    92: "message_reported", 100: "case_opened", 101: "case_approved", 102: "case_closed", 103: "export_ordered", 104: "export_made",
}  # fmt: skip


class Entry:
    """A row: its head's fields, its body, and what messages.jsonl says of it."""

    def __init__(self, **values):
        self.__dict__.update(values)

    def head(self):
        return message(
            (1, self.index), (2, timestamp(self.time)), (3, self.room), (4, self.seq), (5, self.kind), (6, self.actor), (7, self.subject),
            (8, self.target), (9, self.commitment),
        )  # fmt: skip


class Journal:
    """A small journal, written row by row."""

    def __init__(self, seed="one"):
        self.rows = []
        self.random = random.Random(seed)
        self.seqs = {}
        self.now = START
        self.signers = []
        self.files = {}
        self.journal_id = JOURNAL
        self.add(70, message((1, JOURNAL), (2, "greffe/0.1.0")))
        self.add_key(Signer("first"))

    def add(self, kind, content=b"", said=None, room="", actor="", subject="", target=0, seq=None, at=None, content_field=None):
        self.now = self.now + 1_000_001 if at is None else at
        body = field(1, self.random.randbytes(16)) + field(2, "request") + field(content_field or kind, content, True)
        if seq is None:
            seq = self.seqs.get(room, 0) + 1 if room else 0
        if room:
            self.seqs[room] = seq
        row = Entry(
            index=len(self.rows), time=self.now, room=room, seq=seq, kind=kind, actor=actor, subject=subject, target=target, body=body,
            commitment=sha256(body), said=said or {}, erased=False,
        )  # fmt: skip
        self.rows.append(row)
        return row

    def add_key(self, signer, succession=None):
        if succession is None and self.signers:
            succession = self.signers[-1].sign(f"greffe key\n{signer.text}\n")
        self.signers.append(signer)
        return self.add(73, message((1, signer.text), (2, succession)))

    def post(self, text, room, actor, **more):
        return self.add(10, message((1, text)), {"text": text, "mentions": []}, room=room, actor=actor, **more)

    def create(self, room, kind, name, actor="", people=(), **more):
        number = ["", "general", "public", "private", "direct"].index(kind)
        said = {"room_kind": kind, "name": name, "topic": "", "people": list(people)}
        return self.add(30, message((1, number), (2, name), (5, list(people))), said, room=room, actor=actor, **more)

    def share(self, data, room, actor, name="a/../b.txt", media="text/plain"):
        digest = sha256(data)
        self.files[digest] = data
        content = message((1, "f1"), (2, name), (3, len(data)), (4, digest), (5, media), (6, actor))
        file = {"id": "f1", "name": name, "size": len(data), "sha256": digest.hex(), "media_type": media, "owner": actor}
        return self.add(40, content, {"file": file}, room=room, actor=actor)

    def open_case(self, scope, **more):
        self.case = {"scope": scope, "expires_at": self.now + 90 * 24 * 60 * MINUTE}
        content = message((1, "4 O 117/26"), (2, "an order"), (3, scope_bytes(scope)), (4, timestamp(self.case["expires_at"])))
        self.case["row"] = self.add(100, content, **more)
        return self.case

    def order(self, case_row=None, bodies_only=False, subject=""):
        return self.add(103, message((1, case_row.index if case_row else 0), (2, int(bodies_only))), subject=subject, actor=subject)


def time_text(micros):
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=micros)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def line(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


PEOPLE = {ALICE: ("alice", "Alice « 愛 »"), BOB: ("bob", ""), CAROL: ("", "")}
ROOMS = {GENERAL: ("general", "general"), DEN: ("private", 'the "den"\\\n\x01'), PAIR: ("direct", ""), QUIET: ("public", "quiet")}


class Export:
    """An export of a journal whose last row orders it. `files` are its files; what a test changes there, `finish` signs."""

    def __init__(self, journal, scope, case=None, bodies_only=False, sizes=(3, 5), rooms=ROOMS):
        self.journal, self.scope, self.case, self.bodies_only = journal, scope, case, bodies_only
        self.sizes = [size for size in sizes if size < len(journal.rows)]
        self.room_names = rooms
        self.signer = journal.signers[-1]
        self.select()
        self.write()

    def ordered(self, row):
        users, rooms, start, end = self.scope["users"], self.scope["rooms"], self.scope["from"], self.scope["to"]
        return (
            (not users or row.actor in users) and (not rooms or row.room in rooms)
            and (start is None or row.time >= start) and (end is None or row.time < end)
        )  # fmt: skip

    def select(self):
        rows = self.journal.rows
        self.meant = [row for row in rows if self.ordered(row)]
        self.touched = {row.room for row in self.meant if row.room} | set(self.scope["rooms"])
        case = self.case["row"].index if self.case else None
        own = {0, case, len(rows) - 1} | {row.index for row in rows if row.kind in (72, 73)}
        own |= {row.index for row in rows if self.case and row.kind in (101, 102) and field(1, case) in row.body}
        self.with_body = {row.index for row in self.meant} | own - {None}
        self.chosen = set(self.with_body)
        self.runs = dict.fromkeys(self.touched, (0, 0))
        if not self.bodies_only:
            self.select_heads(rows)

    def select_heads(self, rows):
        start, end = self.scope["from"], self.scope["to"]
        for room in self.touched:
            seqs = [row for row in rows if row.room == room and row.seq]
            if not seqs:
                continue
            before = [row for row in seqs if start is not None and row.time < start]
            after = [row for row in seqs if end is not None and row.time >= end]
            first, last = (before[-1] if before else seqs[0]), (after[0] if after else seqs[-1])
            self.runs[room] = (first.seq, last.seq)
            self.chosen |= {row.index for row in seqs if first.seq <= row.seq <= last.seq}
        for row in rows:
            early = row.kind in (20, 21, 22, 23, 24, 30) and (end is None or row.time < end)
            if early and (row.room in self.touched or {row.actor, row.subject} & set(self.scope["users"])):
                self.chosen.add(row.index)

    def write(self):
        journal, leaves = self.journal, [sha256(b"\0" + row.head()) for row in self.journal.rows]
        self.leaves = leaves
        people = self.scope["users"] or {who for row in self.meant for who in (row.actor, row.subject)} - {""}
        newest = {room: max((row.seq for row in journal.rows if row.room == room), default=0) for room in self.touched}
        self.files = {
            "README.txt": b"read me\n",
            "checkpoint": self.checkpoint(len(leaves)),
            "keys": "".join(signer.text + "\n" for signer in journal.signers).encode(),
            "sizes": "".join(f"{size}\n" for size in self.sizes).encode(),
            "rows.pb": b"".join(self.event(journal.rows[index]) for index in sorted(self.chosen)),
            "tree": gaps(leaves, {*self.chosen, *self.sizes, len(leaves)}, self.chosen),
            "people.jsonl": b"".join(line({"id": who, "name": PEOPLE[who][0], "display_name": PEOPLE[who][1]}) for who in sorted(people)),
            "rooms.jsonl": b"".join(self.room(room, newest[room]) for room in sorted(self.touched)),
            "messages.jsonl": b"".join(self.said(row, people) for row in self.meant),
            "report.html": b"<!doctype html>",
            "report-2.html": b"<!doctype html> 2",
        }
        shared = {bytes.fromhex(row.said["file"]["sha256"]) for row in self.meant if row.kind == 40 and not row.erased} - {b""}
        self.blobs = {f"files/{digest.hex()}": journal.files[digest] for digest in sorted(shared)}
        case = None
        if self.case:
            row = self.case["row"]
            case = {"index": row.index, "reference": "4 O 117/26", "basis": "an order", "opened_at": time_text(row.time)}
            case["expires_at"] = time_text(self.case["expires_at"])
        times = {name: None if self.scope[name] is None else time_text(self.scope[name]) for name in ("from", "to")}
        self.manifest = {
            "export": len(leaves) - 1,
            "case": case,
            "scope": {"users": self.scope["users"], "rooms": self.scope["rooms"]} | times,
            "bodies_only": self.bodies_only,
            "tool": "greffe/0.1.0",
            "counts": {
                "rows": len(self.chosen), "ordered": len(self.meant), "erased": sum(row.erased for row in self.meant), "rooms": len(self.touched),
                "files": len(self.blobs), "file_bytes": sum(map(len, self.blobs.values())),
            },
            "files": None,
        }  # fmt: skip
        self.finish()

    def checkpoint(self, size):
        return self.signer.sign(f"{self.signer.name}\n{size}\n{base64.b64encode(tree_root(self.leaves[:size])).decode()}\n")

    def event(self, row):
        event = field(1, row.head())
        if row.index in self.with_body and not row.erased:
            event += field(2, row.body)
        else:
            event += field(3, 3 if row.index in self.with_body else 5)
        return varint(len(event)) + event

    def room(self, room, newest):
        kind, name = self.room_names[room]
        first, last = self.runs[room]
        return line({"id": room, "kind": kind, "name": name, "first_seq": first, "last_seq": last, "newest_seq": newest})

    def said(self, row, people):
        value = {
            "index": row.index, "time": time_text(row.time), "room": row.room or None,
            "room_name": self.room_names[row.room][1] if row.room else None,
            "seq": row.seq or None, "kind": NAMES.get(row.kind, str(row.kind)), "actor": row.actor or None,
            "actor_name": PEOPLE[row.actor][0] if row.actor in people else None, "subject": row.subject or None,
            "target_seq": row.target or None, "state": "erased" if row.erased else "present",
        }  # fmt: skip
        return line(value if row.erased else value | row.said)

    def finish(self, signer=None):
        """Writes and signs the manifest of the files as they are now."""
        files = [{"name": name, "size": len(data), "sha256": sha256(data).hex()} for name, data in self.files.items()]
        self.manifest["files"] = files
        self.sign(line(self.manifest).decode(), signer)

    def sign(self, text, signer=None):
        self.signed = (signer or self.signer).sign("greffe export 1\n" + text)

    def all(self):
        return {**self.files, **self.blobs, "manifest": self.signed}


def store(files, directory):
    """Writes an export's files into a directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, data in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def tar_header(name, size, kind=b"0", link=b""):
    block = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0" + b" " * 8 + kind
    block += link.ljust(100, b"\0") + b"ustar\x0000"
    block = block.ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def tar(files, end=bytes(1024)):
    return b"".join(tar_header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in files.items()) + end


def verify(path, *arguments):
    """Runs the verifier, and returns its exit status and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = greffe_verify.main([str(path), *map(str, arguments)])
    said = out.getvalue() + err.getvalue()
    assert "a fault of its own" not in said, said
    return status, said


# ---- Stories ----------------------------------------------------------------------------------------------------------------------------


def story(case_scope=None, approve=True, then=None):
    """A journal in which three people talk in four rooms for two hours, and a case is opened. Returns it and the case."""
    journal = Journal()
    journal.create(GENERAL, "general", "general")
    for who in (ALICE, BOB, CAROL):
        journal.add(
            50,
            message((1, who), (3, message((1, "192.0.2.7"), (2, 50000)))),
            {"name": who, "display_name": "", "address": "192.0.2.7:50000"},
            actor=who,
        )
    journal.create(DEN, "private", "den", BOB)
    journal.create(PAIR, "direct", "", people=(ALICE, BOB))
    journal.create(QUIET, "public", "quiet", CAROL)
    journal.add(22, room=DEN, actor=BOB, subject=ALICE)
    journal.add(20, message((1, 2)), {"role": "member"}, room=DEN, actor=ALICE, subject=ALICE)
    journal.post("before the period", DEN, BOB)
    journal.post("also before", GENERAL, ALICE)
    journal.now = START + 60 * MINUTE
    talk(journal)
    journal.now = START + 120 * MINUTE
    for room, who in ((GENERAL, BOB), (GENERAL, ALICE), (DEN, BOB)):
        journal.post("after the period", room, who)
    if then:
        then(journal)
    case = journal.open_case(case_scope or scope(users=[ALICE]), actor="uinvestigator")
    if approve:
        journal.add(101, message((1, case["row"].index)))
        journal.add(101, message((1, 3)))
    return journal, case


def talk(journal):
    """What happens within the period: of each kind that messages.jsonl tells more of, one."""
    journal.add(
        60,
        message((1, message((1, "2001:db8::7"), (2, 50000))), (2, "greffe-cli")),
        {"address": "[2001:db8::7]:50000", "client": "greffe-cli"},
        actor=ALICE,
        subject="s1",
    )
    journal.post('text "with" \\ and \t\n\r\x08\x0c\x00\x1f\x7f\u2028 é 愛 🎈', GENERAL, ALICE)
    journal.add(10, message((1, "@bob"), (2, [BOB, CAROL])), {"text": "@bob", "mentions": [BOB, CAROL]}, room=GENERAL, actor=ALICE, target=1)
    journal.post("neighbour's text", GENERAL, BOB)
    journal.add(11, message((1, "edited")), {"text": "edited", "mentions": []}, room=GENERAL, actor=ALICE, target=3)
    journal.add(12, b"", room=GENERAL, actor=ALICE, target=3)
    journal.add(13, message((1, "👍")), {"emoji": "👍"}, room=GENERAL, actor=ALICE, target=2)
    journal.add(14, message((1, "👍")), {"emoji": "👍"}, room=GENERAL, actor=ALICE, target=2)
    journal.share(b"bytes of a file", DEN, ALICE)
    journal.share(b"bytes of a file", DEN, ALICE, name="again")
    journal.share(b"", DEN, ALICE, media="")
    journal.add(41, message((1, "f1")), {"file_id": "f1"}, room=DEN, actor=ALICE, target=6)
    journal.post("bob, in the den", DEN, BOB)
    journal.add(24, message((1, 3)), {"role": "moderator"}, room=DEN, actor=ALICE, subject=BOB)
    journal.add(23, message((1, "why not")), {"reason": "why not"}, room=DEN, actor=ALICE, subject=BOB)
    journal.add(31, field(1, "new", True), {"name": "new", "topic": None}, room=DEN, actor=ALICE)
    journal.add(31, field(2, "", True), {"name": None, "topic": ""}, room=DEN, actor=ALICE)
    journal.post("to you alone", PAIR, ALICE)
    journal.post("in the quiet room", QUIET, CAROL)
    journal.add(52, message((1, message((1, "192.0.2.7"), (2, 1)))), {"address": "192.0.2.7:1"}, actor=ALICE)
    journal.add(62, b"", {"address": None}, actor=ALICE, subject="s1")
    journal.add(51, message((1, "Al")), {"display_name": "Al"}, actor=ALICE)
    journal.add(63, message((1, 1), (3, "bye")), {"address": None}, actor=ALICE, subject="s1")
    journal.add(92, message((1, "bad")), actor=ALICE, subject=GENERAL, target=2)
    journal.add(999, b"unknown", actor=ALICE, content_field=900)
    journal.add(32, message((1, "done")), {"reason": "done"}, room=DEN, actor=ALICE)
    journal.add(54, message((1, "gone")), {"reason": "gone"}, actor=ALICE, subject=CAROL)


def scope(users=(), rooms=(), start=START + 50 * MINUTE, end=START + 100 * MINUTE):
    return {"users": list(users), "rooms": list(rooms), "from": start, "to": end}


def story_export(bodies_only=False, then=None, sizes=(3, 5, 17), **scope_values):
    wanted = scope(**(scope_values or {"users": [ALICE]}))
    journal, case = story(wanted, then=then)
    journal.order(case["row"], bodies_only)
    return Export(journal, wanted, case, bodies_only, sizes)


def own_export():
    journal, _ = story()
    journal.order(None, True, ALICE)
    return Export(journal, scope([ALICE], start=None, end=None), None, True)


class Case(unittest.TestCase):
    """Has a directory of its own, and says verified, tampered or unreadable of what lies in it."""

    def setUp(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="greffe-verify-"))
        self.addCleanup(shutil.rmtree, self.place, True)

    def status(self, export, *arguments):
        files = export.all() if isinstance(export, Export) else export
        return verify(store(files, self.place / "export"), *arguments)

    def verified(self, export, *arguments):
        status, said = self.status(export, *arguments)
        self.assertEqual(status, 0, said)
        return said

    def tampered(self, export, *words, arguments=()):
        status, said = self.status(export, *arguments)
        self.assertEqual(status, 1, said)
        for word in words:
            self.assertIn(word, said)
        return said

    def file(self, name, data):
        path = self.place / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path


class GoodExports(Case):
    def test_exports_of_all_scopes_verify(self):
        for values in (
            {"users": [ALICE]},
            {"users": [ALICE, BOB]},
            {"users": [CAROL], "start": None},
            {"users": [ALICE], "end": None},
            {"users": [ALICE], "start": None, "end": None},
            {"rooms": [GENERAL]},
            {"rooms": [DEN, QUIET]},
            {"rooms": [PAIR], "start": None, "end": None},
            {"users": [BOB], "rooms": [DEN, QUIET]},
            {"rooms": [QUIET], "start": START + 200 * MINUTE, "end": None},
            {"rooms": [QUIET], "start": START - 2 * MINUTE, "end": START - MINUTE},
            {"users": [CAROL], "start": START - 2 * MINUTE, "end": START - MINUTE},
        ):
            for bodies_only in (False, True):
                with self.subTest(values=values, bodies_only=bodies_only):
                    said = self.verified(story_export(bodies_only, **values))
                    self.assertEqual(bodies_only, "Completeness is not proved" in said)

    def test_a_members_own_export_verifies(self):
        self.assertIn("by themselves", self.verified(own_export()))

    def test_an_archive_verifies_and_its_order_counts(self):
        files = story_export().all()
        self.assertEqual(verify(self.file("a.tar", tar(files)))[0], 0)
        self.assertEqual(verify(self.file("b.tar", tar(files, bytes(10240))))[0], 0)
        self.assertEqual(verify(self.file("c.tar", tar(dict(reversed(files.items())))))[0], 1)

    def test_older_checkpoints_and_known_keys_are_compared(self):
        export = story_export()
        old = self.file("old", export.checkpoint(17))
        newest = self.file("newest", export.checkpoint(len(export.leaves)))
        key = self.file("key", export.signer.text + "\n")
        said = self.verified(export, "--checkpoint", old, "--checkpoint", newest, "--key", key, "--key", export.signer.text)
        self.assertIn("the checkpoint with 17 rows is one of this journal", said)
        self.assertNotIn("No older checkpoint was given", said)
        self.assertNotIn("The key was taken from the export itself", said)

    def test_the_notes_say_what_is_not_proved(self):
        said = self.verified(story_export(start=START + 50 * MINUTE, end=None, users=[ALICE]))
        for words in ("rests on newest_seq", "no further room", "No older checkpoint was given", "The key was taken from the export itself"):
            self.assertIn(words, said)

    def test_erased_rows_keep_their_heads(self):
        def erase(journal):
            for row in journal.rows:
                row.erased = row.room == DEN and row.actor == ALICE or row.room == GENERAL and row.kind == 11

        export = story_export(then=erase)
        said = self.verified(export)
        self.assertIn("are erased", said)
        self.assertEqual(export.blobs, {})

    def test_json_is_one_object(self):
        status, said = self.status(story_export(), "--json")
        value = json.loads(said)
        self.assertEqual((status, value["result"], value["findings"]), (0, "verified", []))

    def test_rotated_keys_verify_and_lost_ones_are_told(self):
        second, third = Signer("second"), Signer("third")

        def rotate(journal):
            journal.add_key(second)
            journal.add_key(third)

        export = story_export(then=rotate)
        self.assertNotIn("was lost", self.verified(export, "--key", Signer("first").text))
        export = story_export(then=lambda journal: journal.add_key(second, b""))
        self.assertIn("was lost", self.verified(export, "--key", second.text))
        self.tampered(export, "was lost", arguments=["--key", Signer("first").text])

    def test_restores_verify_and_are_told(self):
        export, size = restored_export()
        self.assertIn("The journal was restored", self.verified(export, "--key", Signer("first").text))
        old = Signer("first")
        common = tree_root(export.leaves[:17])
        good = self.file("good", old.sign(f"{old.name}\n17\n{base64.b64encode(common).decode()}\n"))
        self.assertIn("with 17 rows is one", self.verified(export, "--checkpoint", good))
        gone = self.file("gone", old.sign(f"{old.name}\n{size + 5}\n{base64.b64encode(common).decode()}\n"))
        self.assertIn(f"Rows {size} to {size + 4} of it were given up", self.verified(export, "--checkpoint", gone))
        new = export.checkpoint(size + 2)
        self.assertIn(f"with {size + 2} rows is one", self.verified(export, "--checkpoint", self.file("new", new)))


def restored_export(**changes):
    """An export of a journal that was restored; and the size at which it was."""
    place = {}

    def restore(journal):
        leaves = [sha256(b"\0" + row.head()) for row in journal.rows]
        place["size"] = len(leaves)
        values = {"id": JOURNAL_2, "before": JOURNAL, "size": len(leaves), "root": tree_root(leaves)} | changes
        journal.add(72, message((1, values["id"]), (2, "epoch"), (3, values["before"]), (4, values["size"]), (5, values["root"])))
        journal.add_key(Signer("first", JOURNAL_2))

    story_export(then=restore)
    at = place["size"]
    return story_export(then=restore, sizes=(3, 17, at, at + 2)), at


# ---- Forgeries that somebody made who has the key, and signed ---------------------------------------------------------------------------


class SignedForgeries(Case):
    """The manifest is signed anew in each: what is found is found by what is in the files, not by their hashes."""

    def forged(self, change, *words, **values):
        export = story_export(**values)
        change(export)
        export.finish()
        return self.tampered(export, *words)

    def edit(self, name, change, *words, **values):
        def apply(export):
            before = export.files[name]
            export.files[name] = change(before)
            self.assertNotEqual(before, export.files[name])

        return self.forged(apply, *(words or (name.split(".")[0],)), **values)

    def test_lines_that_say_something_else(self):
        self.edit("messages.jsonl", lambda data: data.replace(b"edited", b"edit3d"))
        self.edit("messages.jsonl", lambda data: data.replace(b"\\u0000", b"\\u0001"))
        self.edit("messages.jsonl", lambda data: b"".join(data.splitlines(True)[:-1]))
        self.edit("messages.jsonl", lambda data: data + data.splitlines(True)[0], "goes on")
        self.edit("messages.jsonl", lambda data: data.replace(b'"text":', b'"text": ', 1))
        self.edit("rooms.jsonl", lambda data: data.replace(b'"private"', b'"public"'), "another kind", users=[BOB], start=None)
        self.edit("people.jsonl", lambda data: data + data.replace(ALICE.encode(), BOB.encode()), "nothing to do")
        self.edit("people.jsonl", lambda data: b"", "")
        self.edit("keys", lambda data: data + Signer("more").text.encode() + b"\n", "")

    def test_rooms_that_are_left_out_or_shorter(self):
        self.edit("rooms.jsonl", lambda data: b"".join(data.splitlines(True)[1:]), "")
        self.edit(
            "rooms.jsonl", lambda data: data + line({"id": "z", "kind": "public", "name": "", "first_seq": 0, "last_seq": 0, "newest_seq": 0}), ""
        )
        self.edit("rooms.jsonl", lambda data: data.replace(b'"first_seq":1,', b'"first_seq":2,', 1), "seqs")
        self.edit("rooms.jsonl", lambda data: data.replace(b'"newest_seq":2', b'"newest_seq":3', 1), "goes on to 3")

    def rows(self, change, *words, **values):
        """Changes which rows are there, or have bodies, and writes the export anew: it agrees with itself, but is not what was ordered."""
        export = story_export(**values)
        change(export)
        export.write()
        return self.tampered(export, *words)

    def first(self, export, **wanted):
        return next(row for row in export.journal.rows if all(getattr(row, name) == value for name, value in wanted.items()))

    def test_rows_that_are_left_out(self):
        everything = story_export().chosen
        kinds = {}
        for index in sorted(everything):
            with self.subTest(index=index):
                export = story_export()
                export.chosen.discard(index)
                export.with_body.discard(index)
                export.meant = [row for row in export.meant if row.index != index]
                export.write()
                status, said = self.status(export)
                row = export.journal.rows[index]
                # What proves nothing by being there is not missed: acts outside rooms, approvals, and memberships that no run has.
                loose = (
                    (not row.seq and row.index in self.meant_of(export))
                    or row.kind == 101
                    or (row.kind in (20, 22) and row.time < START + 50 * MINUTE)
                )
                self.assertEqual(status, 0 if loose else 1, said)
                kinds[loose] = kinds.get(loose, 0) + 1
        self.assertGreater(kinds[False], 20)

    @staticmethod
    def meant_of(export):
        return {row.index for row in export.journal.rows if export.ordered(row)}

    def test_bodies_that_were_not_ordered_and_bodies_that_are_not_there(self):
        def neighbour(export):
            export.with_body.add(self.first(export, kind=10, actor=BOB, room=GENERAL).index)

        self.rows(neighbour, "was not ordered")

        def hidden(export):
            row = self.first(export, kind=11)
            export.with_body.discard(row.index)

        self.rows(hidden, "neither a body nor was it erased")

        def other_case(export):
            row = [row for row in export.journal.rows if row.kind == 101][1]
            export.chosen.add(row.index)
            export.with_body.add(row.index)

        self.rows(other_case, "was not ordered")

    def test_rows_that_nobody_asked_for(self):
        self.rows(lambda export: export.chosen.add(self.first(export, room=QUIET, kind=10).index), "none of the rows")
        self.rows(lambda export: export.chosen.add(self.first(export, kind=50, actor=BOB).index), "none of the rows")
        self.rows(lambda export: export.chosen.add([row for row in export.journal.rows if row.room == GENERAL][-1].index), "behind the end")
        self.rows(
            lambda export: export.chosen.add(self.first(export, kind=10, actor=BOB, room=GENERAL).index), "none of", bodies_only=True, users=[ALICE]
        )

        def before(export):
            rows = [row for row in export.journal.rows if row.room == GENERAL and row.kind == 10]
            export.chosen.add(rows[0].index)

        self.rows(before, "none of the rows", users=[ALICE], start=START + 60 * MINUTE + 8_000_000, end=START + 61 * MINUTE)

    def body(self, change, *words, **values):
        """Changes bodies that are in the export, and not the heads that commit to them."""
        export = story_export(**values)
        change(export, [row for row in export.meant if row.kind == 10])
        export.write()
        return self.tampered(export, *words)

    def test_bodies_that_the_heads_do_not_commit_to(self):
        def text(_, rows):
            rows[0].body = rows[0].body.replace(b"text", b"TEXT")

        self.body(text, "is not the one that its head commits to")

        def salts(_, rows):
            one, two = rows[0].body[:18], rows[1].body[:18]
            rows[0].body, rows[1].body = two + rows[0].body[18:], one + rows[1].body[18:]

        self.body(salts, "is not the one that its head commits to")

        def swap(_, rows):
            rows[0].body, rows[1].body = rows[1].body, rows[0].body

        self.body(swap, "is not the one that its head commits to")

    def test_heads_that_are_not_in_the_tree(self):
        def change(export, **values):
            row = [row for row in export.meant if row.kind == 10][0]
            checkpoint = export.files["checkpoint"]
            row.__dict__.update(values)
            export.write()
            export.files["checkpoint"] = checkpoint
            export.finish()
            return self.tampered(export, "tree")

        export = story_export()
        first = [row for row in export.meant if row.kind == 10][0]
        change(story_export(), time=first.time + 1)
        change(story_export(), target=first.target + 1)
        change(story_export(), body=first.body + b"\x7a\x00", commitment=sha256(first.body + b"\x7a\x00"))

    def test_the_tree_and_the_sizes(self):
        for position in range(0, len(story_export().files["tree"]), 32):
            self.edit("tree", lambda data, at=position: data[:at] + bytes(32) + data[at + 32 :])
        self.edit("tree", lambda data: data[:-32], "ends before its time")
        self.edit("tree", lambda data: data[:-1])
        self.edit("tree", lambda data: data + bytes(32), "goes on")
        self.edit("tree", lambda data: data[32:64] + data[:32] + data[64:])
        for sizes in (
            b"5\n3\n",
            b"3\n3\n",
            b"03\n",
            b"3",
            b"3\r\n",
            b"3\n\n",
            b"-1\n",
            b"9999\n",
            b"99999999999999999999\n",
            b"3 \n",
            b"\xff\n",
            b"9" * 5000,
        ):
            self.edit("sizes", lambda _, sizes=sizes: sizes, "sizes")

    def test_the_manifest(self):
        def member(*path, value):
            def apply(export):
                place = export.manifest
                for name in path[:-1]:
                    place = place[name]
                place[path[-1]] = value(place[path[-1]]) if callable(value) else value

            self.forged(apply, "")

        for count in ("rows", "ordered", "erased", "rooms", "files", "file_bytes"):
            member("counts", count, value=lambda number: number + 1)
        member("export", value=lambda number: number - 1)
        member("bodies_only", value=True)
        member("case", value=None)
        member("case", "index", value=lambda number: number + 1)
        member("case", "reference", value="another")
        member("case", "basis", value="another")
        member("case", "opened_at", value=time_text(START))
        member("case", "expires_at", value=time_text(START))
        member("case", "expires_at", value="2026-02-30T00:00:00.000000Z")
        member("scope", "users", value=[ALICE, BOB])
        member("scope", "users", value=[])
        member("scope", "rooms", value=[GENERAL])
        member("scope", "from", value=time_text(START + 49 * MINUTE))
        member("scope", "to", value=None)

    def test_a_manifest_in_another_form(self):
        export = story_export()
        text = line(export.manifest).decode()
        for changed in (
            text.replace(",", ", ", 1),
            text.replace('"tool"', '"tool":"x","tool"'),
            text.replace('"rows":', '"rows":-'),
            text.replace('"rows":', '"rows":1e'),
            text.replace('"erased":0', '"erased":NaN'),
            text.replace('"erased":0', '"erased":-0'),
            text.replace('"erased":0', '"erased":false'),
            text.replace('"erased":0', '"erased":' + "9" * 10000),
            text.replace('"erased":0', '"erased":' + "[" * 200000 + "]" * 200000),
            text.replace('"erased":0', '"erased":' + "[" * 200000),
            text.replace('"greffe/0.1.0"', '"\\ud800"'),
            text.replace('"greffe/0.1.0"', '"\\u0061"'),
            text[:-2] + "\n",
            "[]\n",
            "\n",
            text + text,
        ):
            self.assertNotEqual(changed, text)
            export.sign(changed)
            self.tampered(export, "manifest")
        export.signed = export.signer.sign("greffe export 2\n{}\n")
        self.assertEqual(self.status(export)[0], 6)
        export.signed = export.signer.sign("greffe export 1\n{}\n") + export.signer.sign("x\n").splitlines(True)[-1]
        self.tampered(export, "manifest", "2 signatures")

    def test_who_signed(self):
        export = story_export()
        other = Signer("other")
        export.finish(other)
        self.tampered(export, "manifest", "not signed by")
        export = story_export()
        export.files["checkpoint"] = other.sign(export.files["checkpoint"].decode().split("\n\n")[0] + "\n")
        export.finish()
        self.tampered(export, "checkpoint", "not signed by")
        # All of it by another key, which a row says is the journal's.
        export = rewritten("other")
        self.verified(export)
        self.tampered(export, "the key that you know is none", arguments=["--key", Signer("first").text])
        self.tampered(export, "signed by none", arguments=["--checkpoint", self.file("old", story_export().checkpoint(17))])

    def test_a_history_rewritten_with_the_stolen_key(self):
        def rewrite(journal):
            journal.rows[12].time += 1

        export = story_export(then=rewrite)
        self.verified(export, "--key", Signer("first").text)
        self.tampered(export, "had the root", arguments=["--checkpoint", self.file("old", story_export().checkpoint(17))])
        missing = self.file("missing", story_export().checkpoint(16))
        self.assertEqual(self.status(export, "--checkpoint", missing)[0], 6)

    def test_keys_and_restores_that_do_not_go_on(self):
        second = Signer("second")
        first = Signer("first")
        for succession in (
            second.sign(f"greffe key\n{second.text}\n"),
            first.sign(f"greffe key\n{first.text}\n"),
            first.sign(f"greffe kez\n{second.text}\n"),
            b"nothing",
        ):
            self.tampered(story_export(then=lambda journal, note=succession: journal.add_key(second, note)), "succession")
        self.tampered(story_export(then=lambda journal: journal.add_key(Signer("second", JOURNAL_2))), "not named after the journal")
        for changes in ({"before": JOURNAL_2}, {"size": 3}, {"root": bytes(32)}, {"id": "x"}, {"id": JOURNAL}):
            self.tampered(restored_export(**changes)[0], "rows.pb")

    def test_rows_that_break_the_rules_of_a_row(self):
        def seq(journal):
            journal.post("a gap", GENERAL, ALICE, seq=journal.seqs[GENERAL] + 2, at=START + 99 * MINUTE)

        journal_rules = {
            "seq": lambda journal: journal.post("x", GENERAL, ALICE, seq=2),
            "before that of row": lambda journal: journal.post("x", GENERAL, ALICE, at=START),
            "content of its kind": lambda journal: journal.add(10, message((1, "x")), room=GENERAL, actor=ALICE, content_field=11),
            "UTF-8": lambda journal: journal.add(10, message((1, b"\xff")), room=GENERAL, actor=ALICE),
            "salt": self.short_salt,
            "cut": lambda journal: journal.add(10, b"\x0a\xff", room=GENERAL, actor=ALICE),
            "64 bits": lambda journal: journal.add(10, b"\x0a" + b"\xff" * 10, room=GENERAL, actor=ALICE),
            "wire type": lambda journal: journal.add(10, b"\x0b\x0c", room=GENERAL, actor=ALICE),
            "twice": lambda journal: journal.add(10, message((1, "x")) * 2, room=GENERAL, actor=ALICE),
            "in no room": lambda journal: journal.post("x", "", ALICE, seq=1),
            "hash or a size": self.no_file,
        }
        for words, rule in journal_rules.items():
            with self.subTest(rule=words):
                self.tampered(story_export(then=rule, users=[ALICE], start=START, end=None), words)
        with self.subTest(rule="a gap"):
            self.tampered(story_export(then=seq, users=[ALICE], start=START, end=None), "rows.pb")

    @staticmethod
    def no_file(journal):
        journal.files[b""] = b""
        journal.add(40, message((3, -1)), {"file": {"sha256": ""}}, room=GENERAL, actor=ALICE)

    @staticmethod
    def short_salt(journal):
        row = journal.post("x", GENERAL, ALICE)
        row.body = b"\x0a\x0f" + row.body[3:]
        row.commitment = sha256(row.body)

    def test_events_that_are_none(self):
        good = story_export().files["rows.pb"]
        self.assertEqual((good[0] > 127, good[1]), (True, 1))
        length = good[0] & 0x7F | 1 << 7
        first, rest = good[2 : 2 + length], good[2 + length :]
        for event in (
            first + b"\x18\x00",
            first + b"\x20\x01",
            first[:-1],
            b"\x12" + first[1:],
            b"",
            b"\x0a\x00\x18\x03",
            b"\x0a\x81\x00\x08\x18\x05",
            first + first,
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ):
            self.edit("rows.pb", lambda _, event=event: varint(len(event)) + event + rest, "rows")
        for start in (b"\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x80\x80", b"\x80\x00", b"\xff"):
            self.edit("rows.pb", lambda data, start=start: start + data, "rows")
        self.edit("rows.pb", lambda data: data[:-1], "cut")
        self.edit("rows.pb", lambda data: b"", "")
        self.edit("rows.pb", lambda data: data * 2, "does not come after")

    def test_the_case(self):
        self.tampered(self.ordered_for_another(), "another case")
        self.tampered(self.not_ordered(), "did not order")

    @staticmethod
    def ordered_for_another():
        wanted = scope([ALICE])
        journal, case = story(wanted)
        journal.order(journal.rows[5])
        return Export(journal, wanted, case)

    @staticmethod
    def not_ordered():
        wanted = scope([ALICE])
        journal, case = story(wanted)
        journal.post("x", QUIET, BOB)
        return Export(journal, wanted, case)

    def test_an_own_export_of_somebody_else(self):
        journal, _ = story()
        journal.order(None, True, BOB)
        self.tampered(Export(journal, scope([ALICE], start=None, end=None), None, True), "for somebody")
        journal, _ = story()
        journal.order(None, True, ALICE)
        self.tampered(Export(journal, scope([ALICE], end=None), None, True), "for somebody")


def rewritten(seed):
    """An export of a journal whose only key is another one."""
    journal, case = None, None
    original = Journal.__init__

    def begin(self, name="one"):
        original(self, name)
        self.signers[:] = [Signer(seed)]
        row = self.rows.pop()
        self.now = row.time - 1_000_001
        self.add(73, message((1, self.signers[0].text)))

    Journal.__init__ = begin
    try:
        journal, case = story(scope([ALICE]))
        journal.order(case["row"])
        return Export(journal, scope([ALICE]), case, sizes=(3, 5, 17))
    finally:
        Journal.__init__ = original


# ---- What lies there --------------------------------------------------------------------------------------------------------------------


class Containers(Case):
    def test_files_that_are_missing_or_too_many(self):
        files = story_export().all()
        for name in files:
            with self.subTest(name=name):
                self.tampered({other: data for other, data in files.items() if other != name}, name)
        for name in ("more", ".hidden", "files/x", "report-3.html", "files/" + "0" * 64, "files/" + "A" * 64, "evil\x1b[31m\u202e"):
            self.assertNotIn("\x1b", self.tampered(files | {name: b"x"}, "" if "\x1b" in name else name))

    def test_links_devices_and_directories(self):
        def with_thing(make):
            place = store(story_export().all(), self.place / "export")
            make(place)
            status, said = verify(place)
            self.assertEqual(status, 1, said)

        def link(place):
            (place / "tree").rename(self.place / "tree")
            (place / "tree").symlink_to(self.place / "tree")

        def linked_files(place):
            (place / "files").rename(self.place / "files")
            (place / "files").symlink_to(self.place / "files")

        with_thing(link)
        with_thing(linked_files)
        with_thing(lambda place: os.mkfifo(place / "pipe"))
        with_thing(lambda place: (place / "empty").mkdir())
        with_thing(lambda place: (place / "files" / "deeper").mkdir())
        with_thing(lambda place: os.mkfifo(place / "files" / ("0" * 64)))

    def test_entries_of_an_archive_that_no_export_has(self):
        files = story_export().all()
        good = tar(files)
        end = len(good) - 1024
        for name, kind, link in (
            ("../outside", b"0", b""),
            ("/etc/absolute", b"0", b""),
            ("./README.txt", b"0", b""),
            ("README.txt", b"0", b""),
            ("link", b"2", b"/etc/passwd"),
            ("hard", b"1", b"keys"),
            ("device", b"3", b""),
            ("pipe", b"6", b""),
            ("directory/", b"5", b""),
            ("pax", b"x", b""),
            ("long", b"L", b""),
            ("regular", b"0", b"linked"),
        ):
            for place in (0, end):
                with self.subTest(name=name, place=place):
                    bad = good[:place] + tar_header(name, 0, kind, link) + good[place:]
                    self.assertEqual(verify(self.file("bad.tar", bad))[0], 1)
        self.assertEqual(sorted(os.listdir(self.place)), ["bad.tar"])

    def test_archives_that_are_damaged(self):
        good = tar(story_export().all())
        for bad in (good[:-1], good[:-512], good[:-1024], good[: len(good) // 2], good + b"\0", good + bytes(511) + b"\1", good + good):
            self.assertEqual(verify(self.file("bad.tar", bad))[0], 1)

    def test_what_is_no_export(self):
        (self.place / "empty").mkdir()
        self.file("nothing", b"")
        self.file("text", b"hello" * 1000)
        self.file("zeros.tar", bytes(10240))
        for name in ("empty", "nothing", "text", "zeros.tar", "missing", "\0"):
            self.assertEqual(verify(self.place / name if name != "\0" else name)[0], 6, name)
        os.mkfifo(self.place / "pipe")
        self.assertEqual(verify(self.place / "pipe")[0], 6)

    def test_arguments_that_are_none(self):
        export = store(story_export().all(), self.place / "export")
        for arguments in (
            ["--key", "nothing"],
            ["--key", self.file("key", b"\xff")],
            ["--key", self.file("no-key", b"")],
            ["--key", Signer("first").text[:-2] + "=="],
            ["--checkpoint", self.place / "missing"],
            ["--checkpoint", self.file("bad", b"\xff")],
            ["--checkpoint", self.file("sizeless", Signer("first").sign("greffe/x\n1\n\n"))],
            ["--checkpoint", self.place],
        ):
            self.assertEqual(verify(export, *arguments)[0], 6, arguments)
        for arguments in ([], ["--what"], [export, "more"]):
            done = subprocess.run([sys.executable, HERE / "greffe_verify.py", *arguments], capture_output=True, check=False)
            self.assertEqual(done.returncode, 2)

    def test_it_says_what_to_install(self):
        blocker = (
            "import sys; sys.modules['cryptography'] = None; sys.path.insert(0, sys.argv[1]); import greffe_verify as v; sys.exit(v.main(['x']))"
        )
        done = subprocess.run([sys.executable, "-c", blocker, HERE], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("pip install cryptography", done.stderr)


# ---- Whatever is done to it -------------------------------------------------------------------------------------------------------------


def mutate(data, chance):
    """Changes bytes at random; the answer is never the same bytes."""
    while True:
        at = chance.randrange(len(data) + 1)
        length = min(chance.choice((1, 1, 2, 8, 32, 100)), len(data) - at)
        other = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0:
                changed = data[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]
            case 1:
                changed = data[:at] + data[at + length :]
            case 2:
                changed = data[:at] + chance.randbytes(max(length, 1)) + data[at:]
            case 3:
                changed = data[:at]
            case 4:
                piece = data[at : at + length]
                rest = data[:at] + data[at + length :]
                changed = rest[:other] + piece + rest[other:]
            case 5:
                changed = data[:at] + chance.randbytes(length) + data[at + length :]
            case _:
                changed = data[:at] + data[at : at + length] + data[at:]
        if changed != data:
            return changed


def mutate_export(files, chance):
    """Does one thing to an export: to the bytes of a file, to its name, or to a row, a line or a hash."""
    files = dict(files)
    name = chance.choice(list(files))
    other = chance.choice([another for another in files if another != name])
    match chance.randrange(10):
        case 0:
            del files[name]
        case 1 if files[name] != files[other]:
            files[name], files[other] = files[other], files[name]
        case 2:
            files[chance.choice(("x", "files/" + chance.randbytes(32).hex(), "manifest2"))] = chance.randbytes(9)
        case 3 | 4 if files["messages.jsonl"].count(b"\n") > 1:
            name = chance.choice(("messages.jsonl", "messages.jsonl", "rooms.jsonl", "people.jsonl", "keys", "sizes"))
            lines = files[name].splitlines(True)
            chance.shuffle(lines)
            del lines[: chance.randrange(2)]
            files[name] = b"".join(lines) if b"".join(lines) != files[name] else mutate(files[name], chance)
        case 5 if len(files["tree"]) >= 64:
            at = chance.randrange(len(files["tree"]) // 32) * 32
            files["tree"] = files["tree"][:at] + chance.randbytes(32) + files["tree"][at + 32 :]
        case _:
            files[name] = mutate(files[name], chance)
    return files


def resign(files, signer):
    """Lists the files as they are now in the manifest, and signs it: only what is in them can still tell."""
    text = files["manifest"].split(b"\n")[1]
    manifest = json.loads(text)
    manifest["files"] = [
        {"name": file["name"], "size": len(files[file["name"]]), "sha256": sha256(files[file["name"]]).hex()} for file in manifest["files"]
    ]
    return files | {"manifest": signer.sign("greffe export 1\n" + line(manifest).decode())}


class Parsers(unittest.TestCase):
    """Whatever bytes come: each parser takes them, or says that they are malformed, and does nothing else."""

    def test_bytes_of_any_kind(self):
        verifier, export = greffe_verify, story_export()
        row = export.journal.rows[10]
        nested = line({"a": [{"b": [1, "\u00e9", None, True]}]})[:-1]
        parsers = {
            lambda data: verifier.decode(data, verifier.HEAD): row.head(),
            lambda data: verifier.decode(data, verifier.BODY): row.body,
            lambda data: verifier.decode(data, verifier.CONTENTS[40]): message((1, "f"), (3, -1), (4, bytes(32))),
            verifier.parse_event: export.event(row).removeprefix(varint(len(field(1, row.head())) + 2)),
            verifier.time_of: timestamp(START),
            verifier.parse_json: nested,
            verifier.parse_note: export.signed,
            verifier.parse_checkpoint: export.files["checkpoint"],
            verifier.parse_manifest: b"greffe export 1\n" + line(export.manifest),
            verifier.archive_header: tar_header("README.txt", 7),
            lambda data: verifier.parse_key(data.decode("latin-1")): export.signer.text.encode(),
            lambda data: verifier.parse_time(data.decode("latin-1")): time_text(START).encode(),
        }
        chance = random.Random(SEED)
        for parse, good in parsers.items():
            parse(good)
            for _ in range(MUTATIONS):
                data = mutate(good, chance) if chance.randrange(4) else chance.randbytes(chance.randrange(40))
                if parse is verifier.archive_header:
                    data = data[:512].ljust(512, b"\0")
                with self.subTest(seed=SEED, data=data), contextlib.suppress(verifier.Malformed):
                    parse(data)


class Mutations(Case):
    """Random mutations; each has to be found."""

    def found(self, status, said, seed):
        self.assertIn(status, (1, 6), f"GREFFE_TEST_SEED={seed}: {said}")

    def load(self, path):
        if path.is_dir():
            return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
        return None

    def mutations_of(self, files, count, archive=None):
        place = self.place / "mutated"
        for number in range(count):
            seed = SEED + number
            chance = random.Random(seed)
            if archive is not None:
                status, said = verify(self.file("mutated.tar", mutate(archive, chance)))
            else:
                status, said = verify(store(mutate_export(files, chance), place))
            self.found(status, said, seed)

    def test_of_a_directory(self):
        self.mutations_of(story_export().all(), MUTATIONS)

    def test_of_an_archive(self):
        self.mutations_of(None, MUTATIONS, tar(story_export().all()))

    def test_signed_anew_by_who_has_the_key(self):
        """Mutations of what the files say, behind a manifest that agrees with them. What rests on the server's word is left alone."""
        export = story_export()
        files = export.all()
        for number in range(MUTATIONS):
            seed = SEED + number
            chance = random.Random(seed)
            name = chance.choice(("rows.pb", "rows.pb", "rows.pb", "tree", "messages.jsonl", "keys", "checkpoint"))
            changed = files | {name: mutate(files[name], chance)}
            # Why a body is not there that was not ordered anyhow is nothing that a head could tell.
            if changed["rows.pb"] != files["rows.pb"] and changed["rows.pb"].replace(b"\x18\x03", b"\x18\x05") == files["rows.pb"]:
                continue
            self.found(*self.status(resign(changed, export.signer)), seed)

    def test_of_samples(self):
        where = os.environ.get("GREFFE_SAMPLE_EXPORTS")
        if not where:
            self.skipTest("GREFFE_SAMPLE_EXPORTS names no directory")
        samples = [path for path in sorted(pathlib.Path(where).iterdir()) if path.is_dir() or path.suffix == ".tar"]
        self.assertTrue(samples, "there is no sample")
        for path in samples:
            with self.subTest(sample=path.name):
                status, said = verify(path)
                self.assertEqual(status, 0, said)
                if path.is_dir():
                    self.mutations_of(self.load(path), MUTATIONS)
                else:
                    self.mutations_of(None, MUTATIONS, path.read_bytes())


if __name__ == "__main__":
    unittest.main()
