#!/usr/bin/env python3
"""Checks an export of a Greffe journal: without the server, without a network, and without any code of Greffe.

    greffe_verify.py DIR|FILE.tar [--key KEY|FILE]... [--checkpoint FILE]... [--json]

Written from RECORD-FORMAT.md and the standards that it names, and from nothing else: RFC 6962 and RFC 9162 (the tree), C2SP signed-note and
tlog-checkpoint, RFC 8032 (Ed25519), FIPS 180-4 (SHA-256), POSIX ustar, and the field numbers of proto/greffe/v1/event.proto.

Exits 0 if all that can be checked is as it has to be, 1 if something was tampered with (the first place is named), 2 if it was called in a way
that it does not know or lacks a library, and 6 if the input cannot be read, is no export, or has not what it takes to compare it with a checkpoint.

Needs Python 3.11 or later and the package `cryptography`. Rows are read one after the other and never kept: what stays in memory is a few numbers
for each room, the names of people and rooms, and the hashes of shared files.
"""

import argparse
import base64
import binascii
import dataclasses
import datetime
import hashlib
import json
import os
import re
import stat
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None

VERIFIED, TAMPERED, USAGE, UNREADABLE = 0, 1, 2, 6

# Bounds on what is read at once, in bytes. Nothing of an export that the format allows comes near them, but for the names, which are kept.
EVENT_BYTES = 1 << 20
NOTE_BYTES = 16 << 20
KEYS_BYTES = 1 << 20
LINE_BYTES = 1 << 20
NAMES_BYTES = 128 << 20
CHUNK_BYTES = 1 << 20
SIGNATURES = 100
# Files that are listed, and findings and notes that are told, at most.
FILES = 4_000_000
TOLD = 100
INT64_MAX = (1 << 63) - 1

FIXED_FILES = ["README.txt", "checkpoint", "keys", "sizes", "rows.pb", "tree", "people.jsonl", "rooms.jsonl", "messages.jsonl", "report.html"]


OTHER_FILES = re.compile(r"files/[0-9a-f]{64}|report-[1-9][0-9]{0,8}\.html")
BLOB = re.compile(r"files/[0-9a-f]{64}")


class Finding(Exception):
    """Something is not as it has to be."""

    def __init__(self, place, text):
        super().__init__(f"{place}: {text}")
        self.place = place
        self.text = text


class Unreadable(Exception):
    """The input cannot be read, or is no export at all."""


class Malformed(ValueError):
    """Bytes are not of the form that they have to be. Whoever calls says where."""


def shown(text, limit=120):
    """A text of somebody else, harmless to a terminal: what does not print is escaped, what is too long is cut."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return '"' + "".join("\\" + c if c in '"\\' else c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + '"'


# ---- The container: a directory, or an archive -----------------------------------------------------------------------------------------


class Reader:
    """Reads one file of the export from its first byte to its last, and hashes it on the way."""

    def __init__(self, raw, offset, size, name):
        self.raw = raw
        self.size = size
        self.name = name
        self.left = size
        self.digest = hashlib.sha256()
        self.buffer = b""
        self.position = 0
        raw.seek(offset)

    def _fill(self, wanted):
        """Makes sure of `wanted` bytes in the buffer, or of all that are left."""
        pieces = [self.buffer[self.position :]]
        have = len(pieces[0])
        while have < wanted and self.left:
            piece = self.raw.read(min(self.left, max(CHUNK_BYTES, wanted - have)))
            if not piece:
                raise Unreadable(f"{self.name}: it ends before its time; does somebody write to it?")
            self.left -= len(piece)
            self.digest.update(piece)
            pieces.append(piece)
            have += len(piece)
        self.buffer = b"".join(pieces)
        self.position = 0

    def read(self, count):
        """Returns `count` bytes, or fewer at the end."""
        if len(self.buffer) - self.position < count:
            self._fill(count)
        start = self.position
        self.position = min(start + count, len(self.buffer))
        return self.buffer[start : self.position]

    def line(self, limit):
        """Returns the next line with its line feed; empty at the end. Not more than `limit` bytes, so that a longer one comes without it."""
        end = self.buffer.find(b"\n", self.position)
        if end < 0:
            self._fill(limit)
            end = self.buffer.find(b"\n")
        stop = len(self.buffer) if end < 0 else end + 1
        return self.read(min(stop - self.position, limit))

    def at_end(self):
        """Says whether all of it was read."""
        return self.left == 0 and self.position == len(self.buffer)

    def sha256(self):
        """Reads what is left, and returns the hash of all of it in hexadecimal."""
        while self.left:
            self.buffer, self.position = b"", 0
            self._fill(1)
        return self.digest.hexdigest()

    def close(self):
        self.raw.close()


@dataclasses.dataclass
class Member:
    """Where a file of the export lies."""

    path: str
    offset: int
    size: int


class Container:
    """The files of an export by their names. Names are compared and never made a path of."""

    def __init__(self):
        self.members = {}
        self.order = []
        self.findings = []
        self.ordered = False
        self.damaged = False

    def add(self, name, member):
        """Lists a file, if it is one that an export can have."""
        if not (name in FIXED_FILES or name == "manifest" or OTHER_FILES.fullmatch(name)):
            self.findings.append(Finding(shown(name), "is a file that no export has"))
            return
        if name in self.members:
            self.findings.append(Finding(shown(name), "is there twice"))
        if len(self.order) >= FILES:
            raise Unreadable(f"it has more than {FILES} files")
        self.members.setdefault(name, member)
        self.order.append(name)

    def damage(self, place, text):
        """An archive that is not as archives are."""
        self.findings.append(Finding(place, text))
        self.damaged = True

    def full(self):
        """Says whether there are so many findings that more are of no use."""
        return len(self.findings) >= TOLD

    def open(self, name):
        """Opens a file for reading once."""
        member = self.members.get(name)
        if member is None:
            raise Finding(name, "is missing")
        return Reader(open_regular(member.path), member.offset, member.size, name)

    def whole(self, name, limit):
        """Returns all bytes of a small file."""
        member = self.members.get(name)
        if member is None:
            raise Finding(name, "is missing")
        if member.size > limit:
            raise Finding(name, f"has {member.size} bytes, more than such a file can have ({limit})")
        reader = self.open(name)
        try:
            return reader.read(member.size)
        finally:
            reader.close()


def open_regular(path):
    """Opens a regular file, and nothing else: no link, no device, no pipe that would block."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{shown(str(path))}: {error}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(f"{shown(str(path))}: is not a regular file")
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def open_container(path):
    """Lists what is in a directory or an archive."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise Unreadable(f"{shown(path)}: {error}") from None
    if stat.S_ISDIR(mode):
        container = list_directory(path)
    elif stat.S_ISREG(mode):
        container = list_archive(os.path.realpath(path))
    else:
        raise Unreadable(f"{shown(path)}: is neither a directory nor a file")
    if not any(name in container.members for name in ("manifest", "rows.pb", "checkpoint")) and not container.damaged:
        raise Unreadable(f"{shown(path)}: is no export: it has no manifest, no rows.pb and no checkpoint")
    return container


def list_directory(path):
    """Lists a directory: regular files, and one directory `files` of such."""
    container = Container()
    entries = []
    try:
        for prefix, directory in (("", path), ("files/", os.path.join(path, "files"))):
            if prefix and not (os.path.isdir(directory) and not os.path.islink(directory)):
                continue
            with os.scandir(directory) as listing:
                entries.extend((prefix + entry.name, entry.path, entry.stat(follow_symlinks=False)) for entry in listing)
    except OSError as error:
        raise Unreadable(f"{shown(path)}: {error}") from None
    for name, place, status in sorted(entries, key=lambda entry: entry[0]):
        if container.full():
            break
        if stat.S_ISREG(status.st_mode):
            container.add(name, Member(place, 0, status.st_size))
        elif not (name == "files" and stat.S_ISDIR(status.st_mode)):
            container.findings.append(Finding(shown(name), "is not a regular file, and no export has such a thing"))
    return container


def octal(field):
    """A number of a tar header: octal digits, then NUL or space."""
    digits = field.rstrip(b"\0 ")
    if not digits or not re.fullmatch(rb"[0-7]+", digits):
        raise Malformed("a number of its header is none")
    return int(digits, 8)


def header_text(field):
    """A name of a tar header: up to the first NUL; behind that there are only such."""
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise Malformed("its name goes on behind its end")
    return text.decode("utf-8", "surrogateescape")


def archive_header(block):
    """Returns the name and the size of the entry with this header."""
    if block[257:265] != b"ustar\x0000":
        raise Malformed("its header is not that of a POSIX tar archive (ustar)")
    if not re.fullmatch(rb"[0-7]{6}\0 ", block[148:156]):
        raise Malformed("the checksum of its header is not written as it has to be")
    if int(block[148:154], 8) != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise Malformed("its header has another checksum")
    if block[156:157] not in (b"0", b"\0"):
        raise Malformed(f"is not a regular file (type {shown(block[156:157].decode('latin-1'))})")
    name, prefix = header_text(block[:100]), header_text(block[345:500])
    if block[157:257].strip(b"\0") or block[500:].strip(b"\0"):
        raise Malformed("its header has what that of a regular file has not")
    return (prefix + "/" + name if prefix else name), octal(block[124:136])


def list_archive(path):
    """Lists a tar archive without unpacking anything."""
    container = Container()
    container.ordered = True
    raw = open_regular(path)
    try:
        total = os.fstat(raw.fileno()).st_size
        first = raw.read(512)
        if len(first) < 512 or not (first[257:262] == b"ustar" or first.startswith(b"README.txt\0")):
            raise Unreadable(f"{shown(path)}: is no tar archive")
        offset = 0
        while not container.full():
            raw.seek(offset)
            block = raw.read(512)
            if len(block) < 512:
                container.damage(f"archive, byte {offset}", "the archive is cut: it has no end")
                break
            if not block.strip(b"\0"):
                check_archive_end(container, raw, offset, total)
                break
            try:
                name, size = archive_header(block)
            except Malformed as error:
                container.damage(f"archive, byte {offset}", f"an entry cannot be read: {error}")
                break
            if offset + 512 + size > total:
                container.damage(shown(name), "the archive is cut within it")
                break
            container.add(name, Member(path, offset + 512, size))
            raw.seek(offset + 512 + size)
            if raw.read(-size % 512).strip(b"\0"):
                container.damage(f"archive, byte {offset + 512 + size}", f"behind {shown(name)} there are bytes that belong to no file")
            offset += 512 + (size + 511) // 512 * 512
    finally:
        raw.close()
    return container


def check_archive_end(container, raw, offset, total):
    """An archive ends with two blocks of zeros at least, and nothing else."""
    if total - offset < 1024 or total % 512:
        container.damage(f"archive, byte {offset}", "the archive is cut, or goes on: it does not end with two blocks of zeros, or more")
    raw.seek(offset)
    while piece := raw.read(CHUNK_BYTES):
        if piece.strip(b"\0"):
            container.damage(f"archive, byte {offset}", "there are bytes behind the end of the archive")
            return


# ---- Protobuf --------------------------------------------------------------------------------------------------------------------------

INT, ENUM, BOOL, UINT, STRING, BYTES, MESSAGE, STRINGS = range(8)
LENGTHS = (STRING, BYTES, MESSAGE, STRINGS)


def varint(data, position, end):
    """Returns the number of up to 64 bits that begins at `position`, and where it ends. Only the shortest form is taken."""
    value = shift = 0
    while True:
        if position >= end:
            raise Malformed("a number is cut")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise Malformed("a number has more than 64 bits")
    if value >> 64 or (byte == 0 and shift):
        raise Malformed("a number is not written in its shortest form")
    return value, position


def number(value, kind):
    """What a varint means in a field of this kind."""
    if kind == BOOL:
        if value > 1:
            raise Malformed("a truth value is neither 0 nor 1")
        return value == 1
    if kind == UINT:
        if value >> 32:
            raise Malformed("a number has more than 32 bits")
        return value
    if value >> 63:
        value -= 1 << 64
    if kind == ENUM and not -(1 << 31) <= value < 1 << 31:
        raise Malformed("an enum's value has more than 32 bits")
    return value


def decode(data, shape):
    """Decodes an encoded message: a dict of the fields of `shape` that it has. Fields that are not in the shape are passed over.

    Fields of other types than theirs, fields that stand twice, groups and everything cut is malformed.
    """
    found = {}
    position, end = 0, len(data)
    while position < end:
        tag = data[position]
        if tag < 0x80:
            position += 1
        else:
            tag, position = varint(data, position, end)
        field, wire = tag >> 3, tag & 7
        if not 0 < field < 1 << 29:
            raise Malformed(f"a field has the number {field}")
        known = shape.get(field)
        if wire == 2:
            if position < end and data[position] < 0x80:
                length = data[position]
                position += 1
            else:
                length, position = varint(data, position, end)
            if length > end - position:
                raise Malformed(f"field {field} reaches beyond the end")
            value = data[position : position + length]
            position += length
        elif wire == 0:
            value, position = varint(data, position, end)
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
            if position > end:
                raise Malformed(f"field {field} reaches beyond the end")
            value = None
        else:
            raise Malformed(f"field {field} has the wire type {wire}")
        if known is None:
            continue
        name, kind = known
        if wire != (2 if kind in LENGTHS else 0):
            raise Malformed(f"field {field} ({name}) has the wire type {wire}")
        if kind == STRINGS:
            found.setdefault(name, []).append(text_of(value, name))
            continue
        if name in found:
            raise Malformed(f"field {field} ({name}) stands twice")
        if kind == STRING:
            value = text_of(value, name)
        elif wire == 0:
            value = number(value, kind)
        found[name] = value
    return found


def text_of(data, name):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{name} is not UTF-8") from None


TIMESTAMP = {1: ("seconds", INT), 2: ("nanos", ENUM)}
HEAD = {
    1: ("index", INT),
    2: ("time", MESSAGE),
    3: ("room_id", STRING),
    4: ("seq", INT),
    5: ("kind", ENUM),
    6: ("actor_id", STRING),
    7: ("subject_id", STRING),
    8: ("target_seq", INT),
    9: ("commitment", BYTES),
}
PEER = {1: ("address", STRING), 2: ("port", UINT)}
SCOPE = {1: ("users", STRINGS), 2: ("rooms", STRINGS), 3: ("from", MESSAGE), 4: ("to", MESSAGE)}

# What of each content is looked at. The number of a content's field in a body is that of its kind.
CONTENTS = {
    10: {1: ("text", STRING), 2: ("mentions", STRINGS)},
    11: {1: ("text", STRING), 2: ("mentions", STRINGS)},
    13: {1: ("emoji", STRING)},
    14: {1: ("emoji", STRING)},
    20: {1: ("role", ENUM)},
    23: {1: ("reason", STRING)},
    24: {1: ("role", ENUM)},
    30: {1: ("kind", ENUM), 2: ("name", STRING), 3: ("topic", STRING), 5: ("people", STRINGS)},
    31: {1: ("name", STRING), 2: ("topic", STRING)},
    32: {1: ("reason", STRING)},
    40: {1: ("id", STRING), 2: ("name", STRING), 3: ("size", INT), 4: ("sha256", BYTES), 5: ("media_type", STRING), 6: ("owner", STRING)},
    41: {1: ("file_id", STRING)},
    50: {1: ("name", STRING), 2: ("display_name", STRING), 3: ("peer", MESSAGE)},
    51: {1: ("display_name", STRING)},
    52: {1: ("peer", MESSAGE)},
    54: {1: ("reason", STRING)},
    60: {1: ("peer", MESSAGE), 2: ("client", STRING)},
    62: {1: ("peer", MESSAGE)},
    63: {2: ("peer", MESSAGE)},
    70: {1: ("journal_id", STRING)},
    72: {1: ("journal_id", STRING), 3: ("previous_journal_id", STRING), 4: ("previous_size", INT), 5: ("previous_root", BYTES)},
    73: {1: ("verifier_key", STRING), 2: ("succession", STRING)},
    100: {1: ("reference", STRING), 2: ("basis", STRING), 3: ("scope", MESSAGE), 4: ("expires_at", MESSAGE), 5: ("needs_approval", BOOL)},
    101: {1: ("case_index", INT)},
    102: {1: ("case_index", INT)},
    103: {1: ("case_index", INT), 2: ("bodies_only", BOOL)},
}

ROOM_CREATED, FILE_SHARED, JOURNAL_CREATED, RESTORED, KEY_ADDED = 30, 40, 70, 72, 73
CASE_OPENED, CASE_APPROVED, CASE_CLOSED, EXPORT_ORDERED = 100, 101, 102, 103

KINDS = {
    0: "unspecified",
    10: "message_posted",
    11: "message_edited",
    12: "message_deleted",
    13: "reaction_added",
    14: "reaction_removed",
    20: "member_joined",
    21: "member_left",
    22: "member_invited",
    23: "member_removed",
    24: "member_role_changed",
    30: "room_created",
    31: "room_updated",
    32: "room_archived",
    40: "file_shared",
    41: "file_removed",
    50: "user_registered",
    51: "user_updated",
    52: "password_changed",
    53: "user_roles_changed",
    54: "user_disabled",
    55: "user_enabled",
    56: "password_reset",
    57: "invitation_created",
    58: "invitation_revoked",
    60: "logged_in",
    61: "login_refused",
    62: "session_seen",
    63: "session_ended",
    64: "refusals_counted",
    70: "journal_created",
    71: "clock_stepped",
    72: "restored",
    73: "key_added",
    80: "operator_acted",
    81: "alert_sent",
    82: "notice_set",
    90: "ban_created",
    91: "ban_lifted",
    92: "message_reported",
    93: "report_resolved",
    94: "file_quarantined",
    95: "file_released",
    100: "case_opened",
    101: "case_approved",
    102: "case_closed",
    103: "export_ordered",
    104: "export_made",
    110: "hold_added",
    111: "hold_released",
    120: "erasure_ordered",
    121: "erasure_begun",
    122: "erasure_done",
    123: "retention_set",
    124: "retention_applied",
}
BODY = {1: ("salt", BYTES)} | {kind: (f"content {kind}", MESSAGE) for kind in KINDS if kind}
CONTENT_NAMES = {kind: f"content {kind}" for kind in KINDS if kind}

# Rows that show who was a member when.
MEMBERSHIP = (ROOM_CREATED, 20, 21, 22, 23, 24)
# Rows whose subject is a session or a room, and no person.
NO_PERSON = (60, 61, 62, 63, 92)
ROLES = {0: "unspecified", 1: "invited", 2: "member", 3: "moderator", 4: "owner"}
ROOM_KINDS = {0: "unspecified", 1: "general", 2: "public", 3: "private", 4: "direct"}
ERASED, OUT_OF_SCOPE = 3, 5


# ---- Times and JSON --------------------------------------------------------------------------------------------------------------------

EPOCH = datetime.datetime(1970, 1, 1)
TIME_FORM = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{6})Z")
FIRST_SECOND = -62135596800  # 0001-01-01T00:00:00Z, where Timestamp begins
LAST_SECOND = 253402300799  # 9999-12-31T23:59:59Z, where it ends


def time_of(data):
    """The microseconds since 1970 that an encoded Timestamp says."""
    fields = decode(data, TIMESTAMP)
    seconds, nanos = fields.get("seconds", 0), fields.get("nanos", 0)
    if not FIRST_SECOND <= seconds <= LAST_SECOND or not 0 <= nanos < 10**9:
        raise Malformed("a time is out of range")
    if nanos % 1000:
        raise Malformed("a time is finer than a microsecond")
    return seconds * 10**6 + nanos // 1000


def time_text(microseconds):
    """RFC 3339 in UTC with six digits after the second."""
    seconds, rest = divmod(microseconds, 10**6)
    if time_text.newest[0] != seconds:
        moment = EPOCH + datetime.timedelta(seconds=seconds)
        time_text.newest = (seconds, f"{moment.year:04}-{moment.month:02}-{moment.day:02}T{moment.hour:02}:{moment.minute:02}:{moment.second:02}")
    return f"{time_text.newest[1]}.{rest:06}Z"


time_text.newest = (None, "")


def parse_time(text):
    """The microseconds since 1970 of a time in the form of `time_text`."""
    form = TIME_FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        raise Malformed("a time is not of the form 2026-11-23T09:30:00.000000Z")
    *whole, micros = (int(part) for part in form.groups())
    try:
        moment = datetime.datetime(*whole)
    except ValueError:
        raise Malformed("there is no such time") from None
    return (moment - EPOCH) // datetime.timedelta(seconds=1) * 10**6 + micros


ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def to_json(value):
    """JSON in the one form that an export has."""
    return ENCODER.encode(value).encode("utf-8")


def parse_json(data):
    """Parses an object, which has to be in the one form that an export has."""

    def pairs(items):
        members = dict(items)
        if len(members) != len(items):
            raise Malformed("a member stands twice")
        return members

    def whole(digits):
        if len(digits) > 20:
            raise Malformed("a number is too large")
        return int(digits)

    def refuse(_):
        raise Malformed("a number is not a whole one")

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_int=whole, parse_float=refuse, parse_constant=refuse)
        if to_json(value) != data:
            raise Malformed("it is not written as an export writes JSON")
    except UnicodeError:
        raise Malformed("it is not UTF-8") from None
    except RecursionError:
        raise Malformed("it is too deep") from None
    except Malformed:
        raise
    except ValueError:
        raise Malformed("it is not JSON") from None
    return value


def members_of(value, shape, what):
    """Checks that a JSON value is an object with exactly these members, in this order, of these types."""
    if not isinstance(value, dict) or list(value) != list(shape):
        raise Malformed(f"{what} has not the members {', '.join(shape)}, in this order")
    for name, kind in shape.items():
        item = value[name]
        good = isinstance(item, kind) and not (isinstance(item, bool) and bool not in (kind if isinstance(kind, tuple) else (kind,)))
        if not good or (isinstance(item, int) and not 0 <= item <= INT64_MAX):
            raise Malformed(f"{what} has a member {name} that is not of its type")
    return value


# ---- Notes, keys and checkpoints -------------------------------------------------------------------------------------------------------


def from_base64(text, what):
    """Decodes base64, of which only the one right form is taken."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeError, binascii.Error, ValueError):
        raise Malformed(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Malformed(f"{what} is not written in base64 as it has to be")
    return data


@dataclasses.dataclass(frozen=True)
class Key:
    """A key that verifies: NAME+ID+KEY."""

    text: str
    name: str
    id: bytes
    public: bytes

    def verifies(self, text, signature):
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


ORIGIN_FORM = re.compile(r"greffe/[0-9a-f]{32}")
KEY_FORM = re.compile(r"(greffe/[0-9a-f]{32})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})")


def parse_key(text):
    """Parses a key."""
    form = KEY_FORM.fullmatch(text)
    if form is None:
        raise Malformed("is not a key of the form greffe/ID+HEX+BASE64")
    key = from_base64(form[3], "the key")
    if len(key) != 33 or key[0] != 1:
        raise Malformed("is not an Ed25519 key")
    name = form[1]
    ident = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if ident.hex() != form[2]:
        raise Malformed(f"its id is {ident.hex()} and not {form[2]}")
    return Key(text, name, ident, key[1:])


@dataclasses.dataclass
class Note:
    """A signed note: its text, and (name, key id, signature) of each signature."""

    text: bytes
    signatures: list

    def require(self, key):
        """The one signature of this note is that of `key`."""
        if len(self.signatures) != 1:
            raise Malformed(f"has {len(self.signatures)} signatures, and not one")
        name, ident, signature = self.signatures[0]
        if name != key.name or ident != key.id:
            raise Malformed(f"is not signed by the key {key.text}, but by {shown(name)} with the key id {ident.hex()}")
        if not key.verifies(self.text, signature):
            raise Malformed(f"the signature is not one of the key {key.text} on this text")


def parse_note(data):
    """Parses a C2SP signed-note."""
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("a signed note has to be UTF-8") from None
    if re.search(r"[\x00-\x09\x0b-\x1f]", whole):
        raise Malformed("a signed note has no control characters")
    cut = whole.rfind("\n\n")
    if cut < 0 or not whole.endswith("\n") or len(whole) == cut + 2:
        raise Malformed("is not a signed note: there is no empty line, and signatures behind it")
    lines = whole[cut + 2 : -1].split("\n")
    if len(lines) > SIGNATURES:
        raise Malformed("has too many signatures")
    signatures = []
    for line in lines:
        dash, name, signature, *rest = line.split(" ") + ["", ""] if line.count(" ") == 2 else ("", "", "")
        if dash != "—" or not name or "+" in name or any(c.isspace() for c in name) or any(rest):
            raise Malformed("has a line of signature that is none")
        decoded = from_base64(signature, "a signature")
        if len(decoded) < 5:
            raise Malformed("has a signature that is too short")
        signatures.append((name, decoded[:4], decoded[4:]))
    return Note(whole[: cut + 1].encode("utf-8"), signatures)


@dataclasses.dataclass
class Checkpoint:
    """What a journal was at a size."""

    origin: str
    size: int
    root: bytes
    note: Note


SIZE_FORM = re.compile(r"0|[1-9][0-9]{0,18}")


def parse_size(text):
    """A size of the tree: decimal, without leading zeros."""
    if not SIZE_FORM.fullmatch(text) or int(text) > INT64_MAX:
        raise Malformed("is not a size")
    return int(text)


def parse_checkpoint(data):
    """Parses a checkpoint of a Greffe journal."""
    note = parse_note(data)
    lines = note.text.decode("utf-8").split("\n")
    if len(lines) != 4 or not ORIGIN_FORM.fullmatch(lines[0]):
        raise Malformed("is not a checkpoint: origin, size and root")
    root = from_base64(lines[2], "the root")
    if len(root) != 32:
        raise Malformed("its root has not 32 bytes")
    return Checkpoint(lines[0], parse_size(lines[1]), root, note)


# ---- The tree --------------------------------------------------------------------------------------------------------------------------


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Range:
    """The roots of full subtrees, from the left, of a tree that grows: RFC 6962, section 2.1."""

    def __init__(self):
        self.size = 0
        self.parts = []

    def append(self, height, root):
        """Appends 2^height leaves by their root; the size so far has to be a multiple of that."""
        self.size += 1 << height
        while self.parts and self.parts[-1][0] == height:
            root = node(self.parts.pop()[1], root)
            height += 1
        self.parts.append((height, root))

    def root(self):
        """The root of all that was appended."""
        if not self.parts:
            return hashlib.sha256(b"").digest()
        root = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            root = node(left, root)
        return root


class Walk:
    """Goes through the tree, from row to row, with the hashes of the file `tree` between them."""

    def __init__(self, size, tree, sizes, wanted):
        self.end = size
        self.tree = tree
        self.sizes = sizes
        self.range = Range()
        self.wanted = wanted
        self.roots = {}
        self.before = -1
        self.next_size = None
        self._read_size()
        self._pass_size()

    def _read_size(self):
        line = self.sizes.line(64)
        if not line:
            self.next_size = None
            return
        try:
            if not line.endswith(b"\n"):
                raise Malformed("is not a line of its own")
            size = parse_size(line[:-1].decode("ascii", "replace"))
        except Malformed as error:
            raise Finding("sizes", f"{shown(line.decode('latin-1'))} {error}") from None
        if not self.before < size < self.end:
            raise Finding("sizes", f"{size} is out of order, or not below the size of the checkpoint ({self.end})")
        self.before = self.next_size = size

    def _pass_size(self):
        if self.next_size == self.range.size:
            if self.next_size in self.wanted:
                self.roots[self.next_size] = self.range.root()
            self._read_size()

    def go(self, position):
        """Goes on to `position`, from which on no leaf is known yet."""
        while self.range.size < position:
            start = self.range.size
            mark = position if self.next_size is None else min(position, self.next_size)
            height = (mark - start).bit_length() - 1
            if start:
                height = min(height, (start & -start).bit_length() - 1)
            root = self.tree.read(32)
            if len(root) < 32:
                raise Finding("tree", f"ends before its time, at row {start}")
            self.range.append(height, root)
            self._pass_size()

    def leaf(self, head):
        """Appends the leaf of a head."""
        self.range.append(0, hashlib.sha256(b"\x00" + head).digest())
        self._pass_size()


# ---- What a row says -------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Row:
    """A row of rows.pb, with what its head says."""

    index: int
    time: int
    room: str
    seq: int
    kind: int
    actor: str
    subject: str
    target_seq: int
    commitment: bytes
    head: bytes
    body: bytes | None
    state: int
    content: dict | None = None

    def place(self):
        return f"rows.pb, row {self.index}"


def parse_event(event):
    """Returns a row. Its body is not looked at yet."""
    if not event.startswith(b"\x0a"):
        raise Malformed("does not begin with a head")
    length, start = varint(event, 1, len(event))
    head = event[start : start + length]
    rest = event[start + length :]
    if len(head) < length:
        raise Malformed("its head is cut")
    body, state = None, 0
    if rest.startswith(b"\x12"):
        length, start = varint(rest, 1, len(rest))
        body = rest[start:]
        if len(body) != length:
            raise Malformed("there is something behind its body, or it is cut")
    elif len(rest) == 2 and rest[0] == 0x18 and rest[1] in (ERASED, OUT_OF_SCOPE):
        state = rest[1]
    else:
        raise Malformed("has neither a body nor one of the two reasons why not")
    fields = decode(head, HEAD)
    if "time" not in fields:
        raise Malformed("has no time")
    get = fields.get
    row = Row(
        get("index", 0), time_of(fields["time"]), get("room_id", ""), get("seq", 0), get("kind", 0), get("actor_id", ""), get("subject_id", ""),
        get("target_seq", 0), get("commitment", b""), head, body, state,
    )  # fmt: skip
    if row.index < 0 or row.seq < 0 or row.target_seq < 0:
        raise Malformed("has a negative number")
    if len(row.commitment) != 32:
        raise Malformed("its commitment has not 32 bytes")
    return row


def open_body(row):
    """Checks a body against its head, and decodes the content that goes with the kind."""
    if hashlib.sha256(row.body).digest() != row.commitment:
        raise Malformed("its body is not the one that its head commits to")
    fields = decode(row.body, BODY)
    if len(fields.pop("salt", b"")) != 16:
        raise Malformed("its salt has not 16 bytes")
    if row.kind not in KINDS:
        return
    if list(fields) != [CONTENT_NAMES.get(row.kind)]:
        raise Malformed(f"its body has not the content of its kind, {KINDS[row.kind]}")
    shape = CONTENTS.get(row.kind)
    if shape is not None:
        row.content = decode(fields[CONTENT_NAMES[row.kind]], shape)


def address_of(content):
    """`192.0.2.7:50000` or `[2001:db8::7]:50000`, or None."""
    peer = content.get("peer")
    if peer is None:
        return None
    fields = decode(peer, PEER)
    address, port = fields.get("address", ""), fields.get("port", 0)
    if not address:
        return None
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def what_it_says(kind, content):
    """The members that a line of messages.jsonl has beyond those that all have."""
    get = content.get
    match kind:
        case 10 | 11:
            return {"text": get("text", ""), "mentions": get("mentions", [])}
        case 13 | 14:
            return {"emoji": get("emoji", "")}
        case 20 | 24:
            role = get("role", 0)
            return {"role": ROLES.get(role, str(role))}
        case 23 | 32 | 54:
            return {"reason": get("reason", "")}
        case 30:
            room_kind = get("kind", 0)
            room = {"room_kind": ROOM_KINDS.get(room_kind, str(room_kind)), "name": get("name", "")}
            return room | {"topic": get("topic", ""), "people": get("people", [])}
        case 31:
            return {"name": get("name"), "topic": get("topic")}
        case 40:
            file = {"id": get("id", ""), "name": get("name", ""), "size": get("size", 0), "sha256": get("sha256", b"").hex()}
            return {"file": file | {"media_type": get("media_type", ""), "owner": get("owner", "")}}
        case 41:
            return {"file_id": get("file_id", "")}
        case 50:
            return {"name": get("name", ""), "display_name": get("display_name", ""), "address": address_of(content)}
        case 51:
            return {"display_name": get("display_name", "")}
        case 60:
            return {"address": address_of(content), "client": get("client", "")}
        case 52 | 62 | 63:
            return {"address": address_of(content)}
    return {}


# ---- The manifest ----------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Scope:
    """What was ordered."""

    users: list
    rooms: list
    start: int | None
    end: int | None

    def __post_init__(self):
        self.user_set = frozenset(self.users)
        self.room_set = frozenset(self.rooms)

    def has(self, row):
        """Says whether a row was ordered."""
        return (
            (not self.users or row.actor in self.user_set)
            and (not self.rooms or row.room in self.room_set)
            and (self.start is None or row.time >= self.start)
            and (self.end is None or row.time < self.end)
        )


def decode_scope(data):
    """A RecordScope."""
    fields = decode(data, SCOPE)
    start, end = (None if fields.get(name) is None else time_of(fields[name]) for name in ("from", "to"))
    return Scope(fields.get("users", []), fields.get("rooms", []), start, end)


def optional_time(text):
    return None if text is None else parse_time(text)


@dataclasses.dataclass
class Manifest:
    """What the manifest says."""

    export: int
    case: dict | None
    scope: Scope
    bodies_only: bool
    tool: str
    counts: dict
    files: list


def parse_manifest(text):
    """Parses the text of the manifest, without its signature."""
    lines = text.split(b"\n")
    if len(lines) != 3 or lines[0] != b"greffe export 1":
        raise Malformed('its text is not "greffe export 1" and a line of JSON')
    optional = (str, type(None))
    value = members_of(
        parse_json(lines[1]),
        {"export": int, "case": (dict, type(None)), "scope": dict, "bodies_only": bool, "tool": str, "counts": dict, "files": list},
        "the manifest",
    )
    if value["case"] is not None:
        members_of(value["case"], {"index": int, "reference": str, "basis": str, "opened_at": str, "expires_at": str}, "the case")
    scope = members_of(value["scope"], {"users": list, "rooms": list, "from": optional, "to": optional}, "the scope")
    for name in ("users", "rooms"):
        if not all(isinstance(ident, str) and ident for ident in scope[name]):
            raise Malformed(f"the {name} of the scope are not ids")
    members_of(value["counts"], dict.fromkeys(("rows", "ordered", "erased", "rooms", "files", "file_bytes"), int), "counts")
    for file in value["files"]:
        members_of(file, {"name": str, "size": int, "sha256": str}, "a file")
        if not re.fullmatch(r"[0-9a-f]{64}", file["sha256"]):
            raise Malformed(f"the hash of {shown(file['name'])} is none")
    parsed = Scope(scope["users"], scope["rooms"], optional_time(scope["from"]), optional_time(scope["to"]))
    if not parsed.users and not parsed.rooms:
        raise Malformed("the scope has neither a user nor a room")
    if parsed.start is not None and parsed.end is not None and parsed.start > parsed.end:
        raise Malformed("the scope ends before it begins")
    return Manifest(value["export"], value["case"], parsed, value["bodies_only"], value["tool"], value["counts"], value["files"])


# ---- The rows --------------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class Room:
    """A room: what rooms.jsonl says of it, if it does, and what the rows say."""

    listed: dict | None
    ordered: bool = False
    created: bool = False
    # Of the newest row with a seq.
    index: int = -1
    seq: int = 0
    # The run: its first and last seq so far, whether the row behind the period was there, and the newest row from before the period that nothing
    # but the run explains.
    first: int = 0
    last: int = 0
    ended: bool = False
    unexplained: int = -1


class Rows:
    """Checks rows.pb, and with it `tree`, `sizes` and messages.jsonl, which go along with it."""

    def __init__(self, manifest, size, keys, people, rooms):
        self.manifest = manifest
        self.scope = manifest.scope
        self.case_index = manifest.case["index"] if manifest.case else None
        self.size = size
        self.keys = keys
        self.people = people
        self.rooms = {ident: Room(listed) for ident, listed in rooms.items()}
        self.persons = set()
        self.files = {}
        self.counts = {"rows": 0, "ordered": 0, "erased": 0}
        self.newest = None
        self.journal_id = None
        self.keys_added = []
        self.lost = []
        self.restores = []
        self.case_row = None
        self.approved = False
        self.closed_at = None
        self.order_row = None

    def run(self, rows, walk, messages):
        """Reads all rows."""
        while not rows.at_end():
            row = self._next(rows)
            self._check_order(row)
            walk.go(row.index)
            try:
                self._check_row(row, walk, messages)
            except Malformed as error:
                raise Finding(row.place(), str(error)) from None
            walk.leaf(row.head)
            self.counts["rows"] += 1
            self.newest = row
        walk.go(self.size)

    def _next(self, rows):
        after = "its first row" if self.newest is None else f"the row behind row {self.newest.index}"
        try:
            length = shift = 0
            while True:
                byte = rows.read(1)
                if not byte:
                    raise Malformed("is cut")
                length |= (byte[0] & 0x7F) << shift
                shift += 7
                if byte[0] < 0x80:
                    break
                if shift > 21:
                    raise Malformed("is too long")
            if length > EVENT_BYTES or (byte[0] == 0 and shift > 7):
                raise Malformed("is too long, or its length is not written in its shortest form")
            event = rows.read(length)
            if len(event) < length:
                raise Malformed("is cut")
            return parse_event(event)
        except Malformed as error:
            raise Finding("rows.pb", f"{after}: {error}") from None

    def _check_order(self, row):
        """Rows ascend, in number and in time, and are of the journal that the checkpoint is of."""
        before = self.newest
        if before is None and row.index != 0:
            raise Finding("rows.pb, row 0", "is missing")
        if row.index >= self.size:
            raise Finding(row.place(), f"the checkpoint has only {self.size} rows")
        if before is not None and row.index <= before.index:
            raise Finding(row.place(), f"does not come after row {before.index}")
        if before is not None and row.time < before.time:
            raise Finding(row.place(), f"its time is before that of row {before.index}")

    def _check_row(self, row, walk, messages):
        if row.body is not None:
            open_body(row)
        ordered = self.scope.has(row)
        own = self._is_own(row)
        if row.body is None and own:
            raise Malformed("has no body; a row of the journal's own and of the case has to have one")
        if row.body is not None and not (ordered or own):
            raise Malformed("has a body, and was not ordered")
        if row.body is None and ordered and row.state != ERASED:
            raise Malformed("was ordered, and has neither a body nor was it erased")
        if row.body is None and not ordered and row.state != OUT_OF_SCOPE:
            raise Malformed("was not ordered, and is not said to be out of scope")
        self._check_room(row, ordered, own)
        if own:
            self._check_own(row, walk)
        if ordered:
            self._check_ordered(row, messages)

    def _is_own(self, row):
        """Says whether it is a row of the journal's own or of the case: 2 and 3 of the format."""
        if row.index in (0, self.size - 1, self.case_index) or row.kind in (RESTORED, KEY_ADDED):
            return True
        if row.kind in (CASE_APPROVED, CASE_CLOSED) and row.content is not None and self.case_index is not None:
            return row.content.get("case_index", 0) == self.case_index
        return False

    def _check_room(self, row, ordered, own):
        """Checks seqs, and that a row that is there only to show that nothing is missing is one of those that do."""
        bodies_only = self.manifest.bodies_only
        room = None
        if row.room:
            room = self.rooms.get(row.room)
            if room is None:
                room = self.rooms[row.room] = Room(None)
        elif row.seq:
            raise Malformed("has a seq, and is in no room")
        explained = ordered or own
        if not explained and not bodies_only and row.kind in MEMBERSHIP and (self.scope.end is None or row.time < self.scope.end):
            touched = room is not None and room.listed is not None
            explained = touched or row.actor in self.scope.user_set or row.subject in self.scope.user_set
        if room is not None:
            if ordered:
                if room.listed is None:
                    raise Malformed(f"was ordered, and rooms.jsonl has not its room {shown(row.room)}")
                room.ordered = True
            if row.seq:
                self._check_seq(row, room)
            if row.seq and room.listed is not None and not bodies_only:
                self._check_run(row, room, explained)
                return
        if not explained:
            raise Malformed("is none of the rows that such an export has")

    def _check_seq(self, row, room):
        if (row.kind == ROOM_CREATED) != (row.seq == 1):
            raise Malformed("a room begins with its creation, and with seq 1")
        if row.seq <= room.seq:
            raise Malformed(f"has the seq {row.seq}, and there was {room.seq} in the same room before")
        if row.seq - room.seq > row.index - room.index:
            raise Malformed(f"has the seq {row.seq}, and there are not enough rows behind seq {room.seq} of the same room")
        if room.listed is not None and row.seq > room.listed["newest_seq"]:
            raise Malformed(f"has the seq {row.seq}, and rooms.jsonl says that {room.listed['newest_seq']} is the newest")
        room.created = room.created or row.seq == 1
        room.seq, room.index = row.seq, row.index

    def _check_run(self, row, room, explained):
        """Follows the run of a touched room: the last row before the period, all within it, and the first one behind it."""
        start, end = self.scope.start, self.scope.end
        if room.ended:
            raise Malformed(f"comes behind the end of what shows that nothing of room {shown(row.room)} is missing")
        if start is not None and row.time < start:
            if room.unexplained >= 0:
                raise Finding(f"rows.pb, row {room.unexplained}", "is none of the rows that such an export has")
            room.first = room.last = row.seq
            room.unexplained = -1 if explained else row.index
            return
        if row.seq != room.last + 1:
            raise Malformed(f"has the seq {row.seq}, and seq {room.last + 1} of room {shown(row.room)} is missing")
        room.unexplained = -1
        room.first = room.first or row.seq
        room.last = row.seq
        room.ended = end is not None and row.time >= end

    def _check_own(self, row, walk):
        content = row.content or {}
        if (row.index == 0) != (row.kind == JOURNAL_CREATED):
            raise Malformed("a journal begins with its creation, and with row 0")
        if row.kind == JOURNAL_CREATED:
            self.journal_id = new_journal_id(content)
        elif row.kind == RESTORED:
            self._check_restored(row, content, walk)
        elif row.kind == KEY_ADDED:
            self._check_key(row, content)
        elif row.kind == CASE_APPROVED:
            self.approved = True
        elif row.kind == CASE_CLOSED:
            self.closed_at = row.index
        if row.index == self.case_index:
            self._check_case(row, content)
        if row.index == self.size - 1:
            self._check_export(row, content)

    def _check_restored(self, row, content, walk):
        if content.get("previous_journal_id", "") != self.journal_id:
            raise Malformed("says another id than the journal had")
        if content.get("previous_size", 0) != row.index:
            raise Malformed("says another size than the journal had")
        if content.get("previous_root", b"") != walk.range.root():
            raise Malformed("says another root than the journal had")
        before, self.journal_id = self.journal_id, new_journal_id(content)
        if before == self.journal_id:
            raise Malformed("the journal kept its id")
        self.restores.append((row.index, before, self.journal_id))

    def _check_key(self, row, content):
        text, succession = content.get("verifier_key", ""), content.get("succession", "")
        position = len(self.keys_added)
        if position >= len(self.keys) or self.keys[position].text != text:
            raise Malformed(f"adds a key that is not line {position + 1} of keys")
        key = self.keys[position]
        if key.name != f"greffe/{self.journal_id}":
            raise Malformed("its key is not named after the journal")
        if succession:
            if not position:
                raise Malformed("its key is said to succeed to another one, and there was none")
            try:
                note = parse_note(succession.encode("utf-8"))
                note.require(self.keys[position - 1])
            except Malformed as error:
                raise Malformed(f"its succession {error}") from None
            if note.text != f"greffe key\n{text}\n".encode():
                raise Malformed("its succession is one of another key")
        elif position:
            self.lost.append((row.index, position))
        self.keys_added.append(row.index)

    def _check_case(self, row, content):
        if row.kind != CASE_OPENED:
            raise Malformed("the manifest says that it opened the case, and it did not")
        case = self.manifest.case
        for name in ("reference", "basis"):
            if content.get(name, "") != case[name]:
                raise Malformed(f"says another {name} of the case than the manifest")
        times = (row.time, time_of(content["expires_at"]) if "expires_at" in content else None)
        if times != (parse_time(case["opened_at"]), parse_time(case["expires_at"])):
            raise Malformed("says other times of the case than the manifest")
        if decode_scope(content.get("scope", b"")) != self.scope:
            raise Malformed("the scope of the case is not that of the manifest")
        self.case_row = row

    def _check_export(self, row, content):
        if row.kind != EXPORT_ORDERED:
            raise Malformed("is the last one, and did not order this export")
        if content.get("case_index", 0) != (self.case_index or 0):
            raise Malformed("orders an export of another case")
        if content.get("bodies_only", False) != self.manifest.bodies_only:
            raise Malformed("says something else than the manifest of whether it is bodies only")
        if self.manifest.case is None and self.scope != Scope([row.subject], [], None, None):
            raise Malformed("orders an export for somebody, and the scope of the manifest is another one")
        self.order_row = row

    def _check_ordered(self, row, messages):
        self.counts["ordered"] += 1
        self.counts["erased"] += row.body is None
        if not self.scope.users:
            self.persons.add(row.actor)
            if row.kind not in NO_PERSON:
                self.persons.add(row.subject)
        room = self.rooms[row.room].listed if row.room else None
        line = {
            "index": row.index,
            "time": time_text(row.time),
            "room": row.room or None,
            "room_name": room["name"] if room else None,
            "seq": row.seq or None,
            "kind": KINDS.get(row.kind) or str(row.kind),
            "actor": row.actor or None,
            "actor_name": self.people.get(row.actor),
            "subject": row.subject or None,
            "target_seq": row.target_seq or None,
            "state": "present" if row.body is not None else "erased",
        }
        if row.body is not None and row.content is not None:
            line.update(what_it_says(row.kind, row.content))
            if row.kind == ROOM_CREATED and ROOM_KINDS.get(row.content.get("kind", 0)) != room["kind"]:
                raise Malformed("rooms.jsonl says another kind of its room")
            if row.kind == FILE_SHARED:
                self._add_file(row.content)
        expected = to_json(line) + b"\n"
        if messages.read(len(expected)) != expected:
            raise Finding("messages.jsonl", f"line {self.counts['ordered']} is not what row {row.index} says")

    def _add_file(self, content):
        digest, size = content.get("sha256", b""), content.get("size", 0)
        if len(digest) != 32 or size < 0:
            raise Malformed("shares a file without a hash or a size")
        if self.files.setdefault(digest, size) != size:
            raise Malformed("shares a file that has another size elsewhere")


def new_journal_id(content):
    ident = content.get("journal_id", "")
    if not re.fullmatch(r"[0-9a-f]{32}", ident):
        raise Malformed("gives the journal an id that is none")
    return ident


# ---- The whole -------------------------------------------------------------------------------------------------------------------------


class Verifier:
    """Checks an export, and collects what is to say of it."""

    def __init__(self, path, given_keys, given_checkpoints):
        self.path = path
        self.given_keys = given_keys
        self.given_checkpoints = given_checkpoints
        self.findings = []
        self.notes = []
        self.incomparable = []
        self.compared = []
        self.facts = {}
        self.rows = None
        self.roots = None

    def run(self):
        """Checks all that there is to check."""
        self.container = container = open_container(self.path)
        self.findings += container.findings
        self.hashes = {}
        try:
            self._keys()
            self._manifest()
            self._listing()
            self._names()
        except Finding as finding:
            self.findings.append(finding)
            return
        readers = {}
        try:
            for name in ("rows.pb", "tree", "sizes", "messages.jsonl"):
                readers[name] = container.open(name)
            self._rows(readers)
        except Finding as finding:
            self.findings.append(finding)
        finally:
            for name, reader in readers.items():
                self.hashes[name] = reader.sha256()
                reader.close()
        self._hashes()
        self._given()

    def _small(self, name, limit):
        data = self.container.whole(name, limit)
        self.hashes[name] = hashlib.sha256(data).hexdigest()
        return data

    def _keys(self):
        lines = self._small("keys", KEYS_BYTES).split(b"\n")
        if len(lines) < 2 or lines[-1]:
            raise Finding("keys", "has no key, or ends within one")
        self.keys = []
        for position, line in enumerate(lines[:-1], 1):
            try:
                self.keys.append(parse_key(line.decode("ascii", "replace")))
            except Malformed as error:
                raise Finding("keys", f"line {position} {error}") from None
        if len({key.text for key in self.keys}) != len(self.keys):
            raise Finding("keys", "has a key twice")

    def _manifest(self):
        data = self._small("manifest", NOTE_BYTES)
        self.facts["manifest_sha256"] = self.hashes["manifest"]
        place = "manifest"
        try:
            note = parse_note(data)
            note.require(self.keys[-1])
            form = re.match(rb"greffe export ([0-9]{1,9})\n", note.text)
            if form and form[1] != b"1":
                raise Unreadable(f"manifest: is of the format {int(form[1])}, which this program does not know")
            self.manifest = parse_manifest(note.text)
            place = "checkpoint"
            self.checkpoint = parse_checkpoint(self._small("checkpoint", NOTE_BYTES))
            self.checkpoint.note.require(self.keys[-1])
            if self.checkpoint.origin != self.keys[-1].name:
                raise Malformed("its origin is not the name of the key that signed it")
        except Malformed as error:
            raise Finding(place, str(error)) from None
        self.facts |= {"origin": self.checkpoint.origin, "size": self.checkpoint.size, "root": self.checkpoint.root.hex()}
        if self.manifest.export != self.checkpoint.size - 1:
            raise Finding("manifest", f"says that row {self.manifest.export} ordered the export, and the checkpoint has {self.checkpoint.size} rows")

    def _listing(self):
        """No other files than those that the manifest lists, itself, and those of files/."""
        names = [file["name"] for file in self.manifest.files]
        expected = FIXED_FILES + [f"report-{number}.html" for number in range(2, len(names) - len(FIXED_FILES) + 2)]
        if names != expected:
            raise Finding("manifest", "does not list the files that an export has, in their order")
        blobs = [name for name in self.container.order if BLOB.fullmatch(name)]
        known = {*names, "manifest", *blobs}
        for name in self.container.order:
            if name not in known:
                self.findings.append(Finding(shown(name), "is a file that the manifest does not list"))
        for file in self.manifest.files:
            member = self.container.members.get(file["name"])
            if member is None:
                self.findings.append(Finding(file["name"], "is missing"))
            elif member.size != file["size"]:
                self.findings.append(Finding(file["name"], f"has {member.size} bytes, and the manifest says {file['size']}"))
        if self.container.ordered and not self.findings and self.container.order != [*names, *blobs, "manifest"]:
            self.findings.append(Finding("archive", "its files are not in their order"))

    def _objects(self, name):
        """Yields the objects of people.jsonl or rooms.jsonl."""
        reader = self.container.open(name)
        try:
            if reader.size > NAMES_BYTES:
                raise Unreadable(f"{name}: has {reader.size} bytes, and this program keeps {NAMES_BYTES} in memory at most")
            count, before = 0, ""
            shape = {"id": str, "name": str, "display_name": str}
            if name == "rooms.jsonl":
                shape = {"id": str, "kind": str, "name": str, "first_seq": int, "last_seq": int, "newest_seq": int}
            while line := reader.line(LINE_BYTES):
                count += 1
                try:
                    if not line.endswith(b"\n"):
                        raise Malformed("it does not end, or is too long")
                    value = members_of(parse_json(line[:-1]), shape, "it")
                    if value["id"] <= before:
                        raise Malformed("ids do not ascend")
                except Malformed as error:
                    raise Finding(name, f"line {count}: {error}") from None
                before = value["id"]
                yield value
            self.hashes[name] = reader.sha256()
        finally:
            reader.close()

    def _names(self):
        self.people = {person["id"]: person["name"] for person in self._objects("people.jsonl")}
        self.rooms = {}
        for room in self._objects("rooms.jsonl"):
            self.rooms[room["id"]] = room
            if room["kind"] not in ("general", "public", "private", "direct") or (room["kind"] == "direct" and room["name"]):
                raise Finding("rooms.jsonl", f"room {shown(room['id'])} is of no kind, or direct and has a name")

    def _rows(self, readers):
        manifest, size = self.manifest, self.checkpoint.size
        self.rows = rows = Rows(manifest, size, self.keys, self.people, self.rooms)
        wanted = {checkpoint.size for _, checkpoint in self.given_checkpoints}
        walk = Walk(size, readers["tree"], readers["sizes"], wanted)
        rows.run(readers["rows.pb"], walk, readers["messages.jsonl"])
        if walk.range.root() != self.checkpoint.root:
            raise Finding("tree", "the rows and the tree do not give the root of the checkpoint")
        if not readers["tree"].at_end():
            raise Finding("tree", "goes on behind its end")
        if not readers["messages.jsonl"].at_end():
            raise Finding("messages.jsonl", f"goes on behind the last row that was ordered, line {rows.counts['ordered']}")
        if rows.order_row is None:
            raise Finding(f"rows.pb, row {size - 1}", "is missing")
        if manifest.case is not None and rows.case_row is None:
            raise Finding(f"rows.pb, row {rows.case_index}", "is missing, and the manifest says that it opened the case")
        if len(rows.keys_added) != len(self.keys):
            raise Finding("keys", f"line {len(rows.keys_added) + 1} is a key that no row added")
        if self.checkpoint.origin != f"greffe/{rows.journal_id}":
            raise Finding("checkpoint", "its origin is not the journal's id")
        self.roots = walk.roots | {size: self.checkpoint.root}
        self._check_rooms(rows)
        self._check_people(rows)
        self._check_files(rows)
        counts = rows.counts | {"rooms": len(self.rooms), "files": len(rows.files), "file_bytes": sum(rows.files.values())}
        for name, count in manifest.counts.items():
            if counts[name] != count:
                raise Finding("manifest", f"says that there are {count} {name}, and there are {counts[name]}")
        self.facts |= counts
        self._notes(rows)

    def _check_rooms(self, rows):
        resting = []
        for ident, listed in self.rooms.items():
            room = rows.rooms[ident]
            place, named = "rooms.jsonl", f"room {shown(ident)}"
            if not room.ordered and ident not in self.manifest.scope.room_set:
                raise Finding(place, f"{named} has no row that was ordered")
            if (listed["first_seq"], listed["last_seq"]) != (room.first, room.last):
                said = f"{listed['first_seq']} to {listed['last_seq']}"
                raise Finding(place, f"{named} is said to have the seqs {said}, and there are {room.first} to {room.last}")
            if listed["newest_seq"] - room.seq > rows.size - 1 - room.index:
                raise Finding(place, f"{named}: the journal has not so many rows that {listed['newest_seq']} could be its newest seq")
            if self.manifest.bodies_only:
                continue
            if not room.ended:
                if room.last != listed["newest_seq"]:
                    newest = f"rooms.jsonl says that it goes on to {listed['newest_seq']}"
                    raise Finding("rows.pb", f"{named} ends with seq {room.last}, before the end of the period, and {newest}")
                resting.append(ident)
            if room.last and not room.created:
                raise Finding("rows.pb", f"{named}: the row that created it is missing")
        for ident in self.manifest.scope.rooms:
            if ident not in self.rooms:
                raise Finding("rooms.jsonl", f"room {shown(ident)} of the scope is missing")
        if resting:
            some = ", ".join(shown(ident) for ident in resting[:5]) + (" …" if len(resting) > 5 else "")
            self.notes.append(
                f"{len(resting)} of {len(self.rooms)} rooms have no row behind the period ({some}): that nothing came after their last row"
                " here rests on newest_seq in rooms.jsonl, the server's signed word."
            )

    def _check_people(self, rows):
        expected = self.manifest.scope.user_set or rows.persons - {""}
        for ident in sorted(expected ^ self.people.keys()):
            fault = "is missing" if ident in expected else "has nothing to do with what was ordered"
            raise Finding("people.jsonl", f"{shown(ident)} {fault}")

    def _check_files(self, rows):
        expected = {f"files/{digest.hex()}": size for digest, size in rows.files.items()}
        for name in sorted(expected):
            member = self.container.members.get(name)
            if member is None:
                raise Finding(name, "is missing; a row that was ordered shared it")
            if member.size != expected[name]:
                raise Finding(name, f"has {member.size} bytes, and the row that shared it says {expected[name]}")
        for name in self.container.members:
            if name.startswith("files/") and name not in expected:
                raise Finding(shown(name), "no row that was ordered shared it")

    def _hashes(self):
        """The hash of every file, also of those that are not looked into."""
        expected = {file["name"]: file["sha256"] for file in self.manifest.files}
        for name in self.container.order:
            if BLOB.fullmatch(name):
                expected[name] = name[6:]
        for name, digest in expected.items():
            if name not in self.container.members:
                continue
            if name not in self.hashes:
                reader = self.container.open(name)
                try:
                    self.hashes[name] = reader.sha256()
                finally:
                    reader.close()
            if self.hashes[name] != digest:
                self.findings.append(Finding(name, f"its SHA-256 is {self.hashes[name]}, and has to be {digest}"))

    def _notes(self, rows):
        scope, case, notes = self.manifest.scope, self.manifest.case, self.notes
        if self.manifest.bodies_only:
            notes.append("Completeness is not proved: the export was ordered without the heads that show that nothing is missing (bodies_only).")
        elif not scope.rooms:
            notes.append(
                "In the rooms listed here nothing of the period is missing. That there is no further room in which these people did something,"
                " and nothing that they did outside rooms, is not proved: it rests on the server's word."
            )
        if not self.manifest.bodies_only and scope.start is not None:
            notes.append(
                "Of who became or ceased to be a member before the period, the rows that are here are proved; that none is missing rests on the"
                " server's word."
            )
        for index, position in rows.lost:
            notes.append(
                f"The key before line {position + 1} of keys was lost (row {index} adds one without the signature of the one before): whoever"
                " trusted the older key has to ask the operator, by other ways than this server, whether that is so."
            )
        for index, before, after in rows.restores:
            notes.append(
                f"The journal was restored: it had the id {before} up to row {index - 1}, and has {after} from row {index} on."
                " Rows that it had beyond that were given up."
            )
        if rows.counts["erased"]:
            notes.append(f"{rows.counts['erased']} of the rows that were ordered are erased: their heads are proved, what they said is gone.")
        if case is not None:
            self._case_notes(rows)

    def _case_notes(self, rows):
        if rows.case_row.content.get("needs_approval") and not rows.approved:
            self.notes.append("The case needs an approval, and this export has no row that gives it.")
        if rows.order_row.time >= parse_time(self.manifest.case["expires_at"]):
            self.notes.append("The export was ordered after the case had expired.")
        if rows.closed_at is not None:
            self.notes.append(f"The case was closed before the export was ordered (row {rows.closed_at}).")

    def _given(self):
        """What the caller knows from elsewhere."""
        for key in self.given_keys:
            try:
                self._given_key(key)
            except Finding as finding:
                self.findings.append(finding)
        if not self.given_keys:
            self.notes.append(
                "The key was taken from the export itself: compare it with one from a source that you trust, or give that one with --key."
                f" It is {self.keys[-1].text}"
            )
        if self.roots is None:
            return
        for path, checkpoint in self.given_checkpoints:
            try:
                self._given_checkpoint(path, checkpoint)
            except Finding as finding:
                self.findings.append(finding)
        if not self.given_checkpoints:
            self.notes.append(
                "No older checkpoint was given: this shows that the export agrees with itself and with its key, and not that the journal was"
                " never rewritten."
            )

    def _given_key(self, key):
        position = next((at for at, known in enumerate(self.keys) if known == key), None)
        if position is None:
            raise Finding("keys", f"the key that you know is none of them: {key.text}")
        if self.rows is not None and any(later > position for _, later in self.rows.lost):
            raise Finding("keys", f"the key that you know was lost later, and did not sign the one after it: {key.text}")

    def _given_checkpoint(self, path, checkpoint):
        place, size = f"checkpoint {shown(path)}", checkpoint.size
        signed = False
        for name, ident, signature in checkpoint.note.signatures:
            for key in self.keys:
                if (key.name, key.id) == (name, ident) and name == checkpoint.origin:
                    if not key.verifies(checkpoint.note.text, signature):
                        raise Finding(place, f"its signature is not one of {key.text}")
                    signed = True
        if not signed:
            raise Finding(place, "is signed by none of the keys of this journal under the checkpoint's origin")
        # Restores from the one on that ended the time in which the journal had the checkpoint's id.
        later, gone = False, None
        for index, before, _ in self.rows.restores:
            later = later or f"greffe/{before}" == checkpoint.origin
            if later and size > index:
                gone = index if gone is None else min(gone, index)
        if gone is not None:
            self.notes.append(
                f"The checkpoint {shown(path)} has {size} rows. Rows {gone} to {size - 1} of it were given up by a restore; it cannot be compared."
            )
        elif size not in self.roots:
            self.incomparable.append(f"{place}: its size, {size}, is neither in sizes nor that of the export; ask for an export that has it")
        elif self.roots[size] != checkpoint.root:
            raise Finding(place, f"with {size} rows the journal had the root {checkpoint.root.hex()}; in this export it has {self.roots[size].hex()}")
        else:
            self.compared.append(size)


# ---- The command line ------------------------------------------------------------------------------------------------------------------


def read_given(path, limit):
    """Reads a file that the caller names."""
    raw = open_regular(os.path.realpath(path))
    try:
        data = raw.read(limit + 1)
    except OSError as error:
        raise Unreadable(f"{shown(path)}: {error}") from None
    finally:
        raw.close()
    if len(data) > limit:
        raise Unreadable(f"{shown(path)}: is too long")
    return data


def given_keys(arguments):
    """The keys that the caller gives, each as such or as a file with one in each line."""
    keys = []
    for argument in arguments:
        lines = [argument]
        if not KEY_FORM.fullmatch(argument):
            if not os.path.exists(argument):
                raise Unreadable(f"--key {shown(argument)}: is neither a key of the form greffe/ID+HEX+BASE64 nor a file")
            lines = [line for line in read_given(argument, KEYS_BYTES).decode("utf-8", "replace").split("\n") if line]
        for line in lines:
            try:
                keys.append(parse_key(line.rstrip("\r")))
            except Malformed as error:
                raise Unreadable(f"--key {shown(argument)}: {error}") from None
        if not lines:
            raise Unreadable(f"--key {shown(argument)}: has no key")
    return keys


def given_checkpoints(paths):
    checkpoints = []
    for path in paths:
        try:
            checkpoints.append((path, parse_checkpoint(read_given(path, KEYS_BYTES))))
        except Malformed as error:
            raise Unreadable(f"--checkpoint {shown(path)}: {error}") from None
    return checkpoints


def tell(verifier, status, trouble, as_json):
    """Says what came of it."""
    result = {VERIFIED: "verified", TAMPERED: "tampered", UNREADABLE: "unreadable"}[status]
    findings = [{"place": finding.place, "finding": finding.text} for finding in verifier.findings[:TOLD]] if verifier else []
    notes = verifier.notes[:TOLD] if verifier and status != UNREADABLE else []
    if verifier and len(verifier.notes) > len(notes) > 0:
        notes.append(f"There are {len(verifier.notes) - TOLD} notes more.")
    facts = verifier.facts if verifier else {}
    if as_json:
        first = findings[0] if findings else {"place": None, "finding": None}
        compared = verifier.compared if verifier else []
        told = {"findings": findings, "trouble": trouble, "notes": notes, "checkpoints_compared": compared}
        print(json.dumps({"result": result} | first | told | facts))
        return
    for finding in findings:
        print(f"tampered: {finding['place']}: {finding['finding']}")
    for line in trouble:
        print(f"unreadable: {line}", file=sys.stderr)
    if status == VERIFIED:
        print(
            f"verified: rows {facts['rows']}, of these ordered {facts['ordered']}, of these erased {facts['erased']};"
            f" rooms {facts['rooms']}; files {facts['files']} ({facts['file_bytes']} bytes)"
        )
        print(f"journal {facts['origin']}, {facts['size']} rows, root {facts['root']}")
        tell_case(verifier.manifest)
        for size in verifier.compared:
            print(f"the checkpoint with {size} rows is one of this journal")
    if status != UNREADABLE:
        for note in notes:
            print(f"note: {note}")


def tell_case(manifest):
    scope, case = manifest.scope, manifest.case
    if case is None:
        print(f"ordered: what {shown(scope.users[0])} did, by themselves")
        return
    print(f"case {case['index']}: {shown(case['reference'], 300)}, basis {shown(case['basis'], 300)}")
    people = ", ".join(shown(ident) for ident in scope.users) or "everyone"
    rooms = "in " + ", ".join(shown(ident) for ident in scope.rooms) if scope.rooms else "everywhere"
    start = "the beginning" if scope.start is None else time_text(scope.start)
    end = "the end" if scope.end is None else time_text(scope.end)
    print(f"ordered: {people}, {rooms}, from {start} to {end}")


def check(arguments):
    """Returns the exit status, having said what came of it."""
    verifier, trouble = None, []
    try:
        keys, checkpoints = given_keys(arguments.key), given_checkpoints(arguments.checkpoint)
        verifier = Verifier(arguments.export, keys, checkpoints)
        verifier.run()
        trouble = verifier.incomparable
    except Unreadable as error:
        trouble = [str(error)]
    except OSError as error:
        trouble = [f"{shown(arguments.export)}: {error}"]
    except MemoryError:
        trouble = [f"{shown(arguments.export)}: there is not enough memory to read it"]
    status = VERIFIED
    if verifier is not None and verifier.findings:
        status = TAMPERED
    elif trouble:
        status = UNREADABLE
    tell(verifier, status, trouble, arguments.json)
    return status


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Checks an export of a Greffe journal, without the server and without a network.")
    parser.add_argument("export", metavar="DIR|FILE.tar", help="the export")
    parser.add_argument("--key", metavar="KEY|FILE", action="append", default=[], help="a key of the journal that you know from elsewhere")
    parser.add_argument("--checkpoint", metavar="FILE", action="append", default=[], help="an older checkpoint of the journal that somebody kept")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    arguments = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if Ed25519PublicKey is None:
        print('the Python package "cryptography", which checks signatures, is missing: python3 -m pip install cryptography', file=sys.stderr)
        return USAGE
    try:
        status = check(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREADABLE
    except Exception as error:  # A traceback helps nobody who checks evidence, and "verified" it is not.
        print(f"unreadable: this program failed, which is a fault of its own: {type(error).__name__}: {shown(str(error))}", file=sys.stderr)
        return UNREADABLE
    return status


if __name__ == "__main__":
    sys.exit(main())
