# -*- test-case-name: tests.interop.test_mosquitto -*-
"""What the Mosquitto clients are put to. Not a test module: ``test_mosquitto`` is."""

from __future__ import annotations

import subprocess
from typing import ClassVar

from tests.interop.case import CREDENTIALS
from tests.interop.mosquitto import SECONDS, MosquittoCase

__all__ = ["Scenarios", "Version3Scenarios"]


class Scenarios(MosquittoCase):
    """What the clients can do at every version."""

    wrong_password: ClassVar[str]

    def publish_and_receive(self, credential: str) -> None:
        for granted in (0, 1, 2):
            reader = self.subscribe("bob-sub", "lab/#", granted, credential=credential)
            for qos in (0, 1, 2):
                self.publish(f"lab/qos/{qos}", f"{qos} for {granted}", qos, credential=credential)
                message = reader.receive()
                self.assertEqual(
                    (f"lab/qos/{qos}", f"{qos} for {granted}", min(qos, granted), 0),
                    (message["topic"], message["payload"], message["qos"], message["retain"]),
                )
            self.assertEqual([], reader.messages(0.1))
            reader.kill()

    def test_publish_and_receive_with_password(self) -> None:
        """With a user name and a password, messages of each QoS get through once."""
        self.publish_and_receive("password")

    def test_publish_and_receive_with_certificate(self) -> None:
        """With a client certificate and nothing else, messages of each QoS get through once."""
        self.publish_and_receive("certificate")

    def test_retained(self) -> None:
        """A retained message waits for those who subscribe later, is marked so, and goes when it is cleared."""
        for credential in CREDENTIALS:
            for qos in (0, 1, 2):
                self.publish(f"lab/state/{qos}", f"on {qos}", qos, "-r", credential=credential)
            reader = self.subscribe("bob-sub", "lab/state/#", 2, credential=credential)
            found = sorted((reader.receive() for _ in range(3)), key=lambda message: str(message["topic"]))
            self.assertEqual(["on 0", "on 1", "on 2"], [message["payload"] for message in found])
            self.assertEqual([(0, 1), (1, 1), (2, 1)], [(message["qos"], message["retain"]) for message in found])
            for qos in (0, 1, 2):
                self.publish(f"lab/state/{qos}", "", qos, "-r", credential=credential)
            self.assertEqual(3, len([reader.receive() for _ in range(3)]))
            late = self.subscribe("bob-late", "lab/state/#", 2, credential=credential)
            self.assertEqual([], late.messages(0.2))
            late.kill()
            reader.kill()

    def test_will(self) -> None:
        """A client that is killed leaves its will, at its QoS, retained if it asked for that."""
        watcher = self.subscribe("alice-sub", "lab/bob/status", 2)
        for credential in CREDENTIALS:
            for qos in (0, 1, 2):
                will = ["--will-topic", "lab/bob/status", "--will-payload", f"lost {qos}", "--will-qos", str(qos)]
                device = self.subscribe("bob-device", "lab/x", 0, *will, "--will-retain", credential=credential)
                device.kill()
                message = watcher.receive()
                self.assertEqual((f"lost {qos}", qos, 0), (message["payload"], message["qos"], message["retain"]))
                late = self.subscribe("bob-late", "lab/bob/status", 2).receive()
                self.assertEqual((f"lost {qos}", qos, 1), (late["payload"], late["qos"], late["retain"]))

    def test_durable_session_keeps_what_came_meanwhile(self) -> None:
        """A client that was away gets what it missed, in order and once."""
        self.subscribe("bob-device", "lab/queue", 2, "-c", "-E").ended()
        for number in range(6):
            self.publish("lab/queue", str(number), 1)
        back = self.start_subscriber("bob-device", "lab/queue", 2, "-c")
        self.assertEqual([str(number) for number in range(6)], [back.receive()["payload"] for _ in range(6)])
        self.assertEqual([], back.messages(0.2))

    def test_shared_subscription(self) -> None:
        """Messages for a group go each to one member."""
        workers = [self.subscribe(f"bob-worker{number}", "$share/workers/lab/jobs", 1) for number in range(2)]
        lines = "".join(f"{number}\n" for number in range(20))
        command = self.command("pub", "alice-pub", "password", "-t", "lab/jobs", "-q", "1", "-l")
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=SECONDS, check=False)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        found = [[message["payload"] for message in worker.messages(0.4)] for worker in workers]
        self.assertTrue(all(found), "one of them had nothing to do")
        self.assertEqual(sorted(map(str, range(20))), sorted(map(str, found[0] + found[1])))

    def test_takeover(self) -> None:
        """A second connection of the same client ends the first."""
        first = self.subscribe("bob-device", "lab/a", 0)
        done = self.run_program(self.command("sub", "bob-device", "certificate", "-t", "lab/a", "-E"))
        self.assertEqual(0, done.returncode, done.stderr)
        # mosquitto_sub connects again by itself, so being cut off is seen in the broker's log alone.
        self.assertIn("taken over", self.broker.log)
        first.kill()

    def test_wrong_password_is_refused(self) -> None:
        """A wrong password and a user that does not exist get the same words."""
        for user in ("alice", "mallory"):
            command = self.command("pub", "alice-pub", "password", "-t", "lab/a", "-m", "x")
            command += ["-u", user, "-P", "wrong", "-i", f"{user}-pub"]
            done = self.run_program(command)
            self.assertNotEqual(0, done.returncode)
            self.assertIn(self.wrong_password, done.stderr)

    def test_forbidden_filter_is_refused(self) -> None:
        """mosquitto_sub says that its subscription was denied."""
        for topic_filter in ("plant/#", "#"):
            subscriber = self.start_subscriber("bob-sub", topic_filter, 0)
            self.assertIn("All subscription requests were denied.", subscriber.ended())

    def forbidden(self, topic: str, qos: int) -> subprocess.CompletedProcess[str]:
        """What a forbidden mosquitto_pub has to say; nobody gets its message."""
        reader = self.subscribe("alice-sub", "lab/#", 1)
        command = self.command("pub", "bob-pub", "password", "-t", topic, "-q", str(qos), "-m", "forbidden")
        done = self.run_program(command)
        self.assertEqual([], reader.messages(0.1))
        return done


class Version3Scenarios(Scenarios):
    wrong_password = "Connection Refused: bad user name or password."

    def test_forbidden_topic_ends_the_connection(self) -> None:
        """mosquitto_pub fails: the versions before 5.0 know no other answer to a PUBLISH."""
        done = self.forbidden("lab/locked/door", 1)
        self.assertNotEqual(0, done.returncode)
        self.assertIn("The connection was lost.", done.stderr)
