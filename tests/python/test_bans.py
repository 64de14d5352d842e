"""Bans, by clients that have only `proto/`: the operator's over the local socket, the members' over the port.

    python -m unittest discover tests/python          (tests/run sets up what this needs)
"""

import os
import socket
import threading
import time
import unittest
import uuid

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import grpc
from google.protobuf import duration_pb2

from greffe.admin.v1 import ban_admin_service_pb2, ban_admin_service_pb2_grpc
from greffe.admin.v1 import log_admin_service_pb2, log_admin_service_pb2_grpc
from greffe.v1 import auth_service_pb2, auth_service_pb2_grpc, chat_service_pb2, chat_service_pb2_grpc
from greffe_process import Server

PASSWORD = "an owl in the attic"
ELSEWHERE = "127.0.0.2"
DEADLINE = 30


class Relay:
    """Passes connections on from an address of our own, which grpcio itself cannot be told to connect from."""

    def __init__(self, target, source):
        host, _, port = target.rpartition(":")
        self.target, self.source = (host, int(port)), source
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.target, timeout=DEADLINE, source_address=(self.source, 0))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=ends, daemon=True).start()

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def has_reason(error, reason):
    """Whether a refusal's status details have this as `ErrorInfo.reason`; the messages of google.rpc are in a package that is not needed else."""
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    field = b"\x0a" + bytes([len(reason)]) + reason.encode()
    return field in details


class Bans(unittest.TestCase):
    def setUp(self):
        self.server = self.enter(Server())
        # By itself, grpcio sends the socket's path as the host's name, which is no valid one.
        options = [("grpc.default_authority", "localhost")]
        operator = grpc.insecure_channel(f"unix:{self.server.admin_socket}", options)
        self.addCleanup(operator.close)
        self.bans = ban_admin_service_pb2_grpc.BanAdminServiceStub(operator)
        self.logs = log_admin_service_pb2_grpc.LogAdminServiceStub(operator)
        relay = Relay(self.server.address, ELSEWHERE)
        self.addCleanup(relay.close)
        self.here = self.channel(self.server.address)
        self.elsewhere = self.channel(relay.address)
        for name in ("alice", "bob"):
            request = auth_service_pb2.RegisterRequest(user_name=name, password=PASSWORD, client="python-tests/1")
            self.auth(self.here).Register(request, timeout=DEADLINE)

    def enter(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def channel(self, address):
        channel = grpc.insecure_channel(address)
        self.addCleanup(channel.close)
        return channel

    @staticmethod
    def auth(channel):
        return auth_service_pb2_grpc.AuthServiceStub(channel)

    def log_in(self, channel, name, password=PASSWORD):
        request = auth_service_pb2.LogInRequest(user_name=name, password=password, client="python-tests/1")
        return self.auth(channel).LogIn(request, timeout=DEADLINE)

    def ban(self, seconds=None, **target):
        request = ban_admin_service_pb2.CreateBanRequest(request_id=str(uuid.uuid4()), reason="sold watches", **target)
        if seconds is not None:
            request.duration.CopyFrom(duration_pb2.Duration(seconds=seconds))
        return self.bans.CreateBan(request, timeout=DEADLINE)

    def refused(self, reason, call, *arguments):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments)
        self.assertTrue(has_reason(caught.exception, reason), caught.exception)
        return caught.exception

    def test_a_banned_account_is_cut_off_and_refused(self):
        token = self.log_in(self.here, "bob").token
        chat = chat_service_pb2_grpc.ChatServiceStub(self.here)
        metadata = [("authorization", f"Bearer {token}")]
        hello = chat_service_pb2.SubscribeRequest(hello=chat_service_pb2.Hello())
        stream = chat.Subscribe(hello, metadata=metadata, timeout=DEADLINE)
        self.assertEqual(next(stream).frame.WhichOneof("kind"), "started")
        self.assertEqual(self.ban(user="bob").streams_closed, 1)
        kinds = []
        with self.assertRaises(grpc.RpcError) as caught:
            for response in stream:
                kinds.append(response.frame)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(kinds[-1].ended.reason, chat_service_pb2.END_REASON_BANNED)
        self.assertIn("sold watches", kinds[-1].ended.message)
        error = self.refused("BANNED", self.log_in, self.here, "bob")
        self.assertIn("sold watches", error.details())
        self.log_in(self.here, "alice")

    def test_a_banned_address_is_refused_before_its_password_is_looked_at(self):
        self.log_in(self.elsewhere, "alice")
        self.ban(network=f"{ELSEWHERE}/32")
        self.refused("BANNED", self.log_in, self.elsewhere, "alice")
        self.refused("BANNED", self.log_in, self.elsewhere, "alice", "not the password")
        self.log_in(self.here, "alice")
        rows = self.logs.ListConnections(log_admin_service_pb2.ListConnectionsRequest(), timeout=DEADLINE)
        kinds = [entry.event.body.WhichOneof("content") for entry in rows.entries]
        self.assertNotIn("login_refused", kinds)

    def test_a_ban_that_has_ended_lets_in_again(self):
        self.ban(seconds=1, user="bob")
        self.refused("BANNED", self.log_in, self.here, "bob")
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.log_in(self.here, "bob")
                break
            except grpc.RpcError as error:
                self.assertTrue(has_reason(error, "BANNED"), error)
                self.assertLess(time.monotonic(), end)
        bans = self.bans.ListBans(ban_admin_service_pb2.ListBansRequest(), timeout=DEADLINE)
        self.assertEqual(list(bans.bans), [])


if __name__ == "__main__":
    unittest.main()
