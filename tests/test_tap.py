# -*- test-case-name: tests.test_tap -*-
"""``twistd mqttsecure``: options, what is checked before the fork, and the log."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from click.testing import CliRunner
from twisted.application.service import Application, IService, Service
from twisted.logger import ILogObserver, LogLevel
from twisted.python import usage
from twisted.scripts.twistd import ServerOptions
from twisted.trial import unittest

import twisted
from mqttsecure import tap
from mqttsecure.cli.main import main
from mqttsecure.service.config import BrokerConfig
from tests.support.config import write_config
from tests.support.process import CHECKOUT, BrokerProcess
from tests.system.conformance.client import Client


class OptionsTests(unittest.SynchronousTestCase):
    """What is typed after ``twistd mqttsecure``."""

    def test_config_becomes_absolute(self) -> None:
        """twistd changes its folder later."""
        options = tap.Options()
        options.parseOptions(["--config", "etc/broker.toml"])
        self.assertEqual(options["config"], os.path.abspath("etc/broker.toml"))

    def test_config_is_needed(self) -> None:
        """The error says what to type."""
        self.assertRaisesRegex(usage.UsageError, "--config etc/broker.toml", tap.Options().parseOptions, [])

    def test_help_has_examples_and_exit_codes(self) -> None:
        """``--help`` is enough to start it."""
        text = str(tap.Options())
        for expected in ("twistd -n mqttsecure --config etc/broker.toml", "Exit codes", "SIGTERM"):
            self.assertIn(expected, text)


class MakeServiceTests(unittest.SynchronousTestCase):
    """What happens before the fork."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.built: list[BrokerConfig] = []
        self.patch(tap, "_build_broker", self.build)
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def build(self, config: BrokerConfig) -> IService:
        self.built.append(config)
        return Service()

    def options(self, config: Path, *twistd: str) -> tap.Options:
        parent = ServerOptions()
        parent.parseOptions([*twistd, "-y", "unused"])
        options = tap.Options()
        options.parent = parent
        options.parseOptions(["--config", str(config)])
        return options

    def test_good_configuration(self) -> None:
        """The broker gets it, checked and with absolute paths."""
        files = write_config(self.directory)
        service = tap.makeService(self.options(files.config, "-n"))
        self.assertTrue(IService.providedBy(service))
        self.assertEqual(self.built[0].path, files.config)
        self.assertEqual(self.err.getvalue(), "")

    def test_bad_configuration(self) -> None:
        """Its problems on stderr, as a compiler would; exit code 1; no broker."""
        files = write_config(self.directory, listener="nonsense = 1")
        with self.assertRaises(SystemExit) as raised:
            tap.makeService(self.options(files.config, "-n"))
        self.assertEqual(raised.exception.code, 1)
        self.assertRegex(self.err.getvalue(), r"broker\.toml:\d+: listener\[0\]\.nonsense: unknown key")
        self.assertIn("1 problem in the configuration", self.err.getvalue())
        self.assertEqual(self.built, [])

    def test_bad_policy(self) -> None:
        """What only a policy can know is told here too, not after the fork."""
        files = write_config(self.directory, rules=["permit everybody read #"])
        self.assertRaises(SystemExit, tap.makeService, self.options(files.config, "-n"))
        self.assertIn("rules[0]", self.err.getvalue())

    def test_log_goes_to_stdout_in_the_foreground(self) -> None:
        """In the form that [log] asks for."""
        files = write_config(self.directory, extra='[log]\nformat = "json"\n')
        application = Application("mqttsecure")
        tap.makeService(self.options(files.config, "-n")).setServiceParent(application)
        observer = application.getComponent(ILogObserver)
        observer({"log_format": "hello", "log_time": 0.0, "log_namespace": "x", "log_level": LogLevel.info})
        self.assertIn('"message": "hello"', self.out.getvalue())

    def test_log_file(self) -> None:
        """``--logfile`` is used, is not for others to read, and belongs to the user that serves."""
        files = write_config(self.directory)
        log = self.directory / "broker.log"
        arguments = ["-n", "--logfile", str(log), "--uid", "65534", "--gid", "65533"]
        application = Application("mqttsecure")
        tap.makeService(self.options(files.config, *arguments)).setServiceParent(application)
        application.getComponent(ILogObserver)(
            {"log_format": "hällo", "log_time": 0.0, "log_namespace": "x", "log_level": LogLevel.warn}
        )
        self.assertIn("hällo", log.read_text(encoding="utf-8"))
        self.assertEqual(stat.S_IMODE(log.stat().st_mode) & 0o007, 0)
        if os.geteuid() == 0:
            self.assertEqual((log.stat().st_uid, log.stat().st_gid), (65_534, 65_533))

    def test_own_logger_is_left_alone(self) -> None:
        """``--logger`` and ``--syslog`` bring their own."""
        files = write_config(self.directory)
        application = Application("mqttsecure")
        options = self.options(files.config, "-n", "--logger", "twisted.logger.LimitedHistoryLogObserver")
        tap.makeService(options).setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))

    def test_daemon_cannot_log_to_stdout(self) -> None:
        """It has none."""
        files = write_config(self.directory)
        self.assertRaises(SystemExit, tap.makeService, self.options(files.config, "--logfile", "-"))


class TwistdTests(unittest.SynchronousTestCase):
    """A really started twistd."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def test_help(self) -> None:
        """twistd knows the command from a checkout."""
        launcher = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; sys.exit(run())"
        ended = subprocess.run(
            [sys.executable, "-c", launcher, "--help"],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertRegex(ended.stdout, r"mqttsecure\s+A secure MQTT broker\.")

    def test_bad_configuration_ends_with_1_and_no_traceback(self) -> None:
        """What a person sees who made a mistake."""
        (self.directory / "bad.toml").write_text("[[listener]]\nname = 5\n")
        broker = BrokerProcess(self.directory / "bad.toml", self.directory)
        self.addCleanup(broker.kill)
        broker.spawn()
        self.assertEqual(broker.wait(), 1)
        self.assertIn("bad.toml:2: listener[0].name: must be a string, not 5", broker.log)
        self.assertNotIn("Traceback", broker.log)

    def test_start_and_stop(self) -> None:
        """It listens, says where, and ends with 0 at SIGTERM."""
        files = write_config(self.directory, plaintext=True)
        broker = BrokerProcess(files.config, self.directory)
        self.addCleanup(broker.kill)
        broker.start(listeners=2)
        self.assertEqual(set(broker.ports), {"tls", "plain"})
        self.assertEqual(broker.stop(), 0, broker.log)
        self.assertNotIn("Traceback", broker.log)

    def test_port_that_is_taken(self) -> None:
        """The second broker says so in one line and ends with 1; the first goes on."""
        files = write_config(self.directory)
        first = BrokerProcess(files.config, self.directory)
        self.addCleanup(first.kill)
        first.start()
        text = files.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{first.ports['tls']}")
        (self.directory / "second.toml").write_text(text)
        second = BrokerProcess(self.directory / "second.toml", self.directory)
        self.addCleanup(second.kill)
        second.spawn()
        self.assertEqual(second.wait(), 1)
        self.assertIn("mqttsecure: cannot start: ", second.log)
        self.assertNotIn("Traceback", second.log)
        self.assertEqual(first.stop(), 0)


def _others_can_reach(folder: Path) -> bool:
    """Whether each folder on the way lets others in; what is below /root is for root alone."""
    return all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


class ShippedConfigurationTests(unittest.SynchronousTestCase):
    """A stranger starts the configuration that comes with the broker."""

    def setUp(self) -> None:
        # Not below _trial_temp: another user has to get at it.
        self.root = Path(tempfile.mkdtemp(prefix="mqttsecure-test-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.root.chmod(0o755)
        (self.root / "etc").mkdir(mode=0o755)
        text = (CHECKOUT / "etc" / "broker.toml").read_text().replace("127.0.0.1:8883", "127.0.0.1:0")
        self.config = self.root / "etc" / "broker.toml"
        self.config.write_text(text)
        self.config.chmod(0o644)

    def start(self, *twistd: str) -> BrokerProcess:
        broker = BrokerProcess(self.config, self.root, twistd_arguments=["-n", "--pidfile=", *twistd])
        self.addCleanup(broker.kill)
        return broker.start()

    def test_first_and_second_start(self) -> None:
        """The first makes files and says how to connect, once; the second uses them. No log has the password."""
        first = self.start()
        self.assertEqual(first.stop(), 0)
        password = (self.root / "certs" / "alice.password").read_text().strip()
        self.assertIn("mosquitto_sub -i alice-sub", first.log)
        self.assertNotIn(password, first.log)
        before = {path: path.read_bytes() for path in (self.root / "certs").iterdir()}
        second = self.start()
        self.assertEqual(second.stop(), 0)
        self.assertNotIn("mosquitto_sub", second.log)
        self.assertEqual({path: path.read_bytes() for path in (self.root / "certs").iterdir()}, before)

    def test_it_can_be_asked(self) -> None:
        """What the README's first ten minutes ask works as it comes, however deep the checkout lies."""
        deep = self.root / ("x" * 120)
        deep.mkdir()
        (self.root / "etc").rename(deep / "etc")
        self.config = deep / "etc" / "broker.toml"
        broker = self.start()
        context = ssl.create_default_context(cafile=str(deep / "certs" / "ca.pem"))
        client = Client(broker.ports["tls"], context=context)
        self.addCleanup(client.drop)
        client.connect("bob-1", username="bob", password=b"x", code=0x86)
        for arguments, code in ((["status"], 0), (["clients", "list"], 0), (["bans", "list"], 0), (["why", "bob"], 3)):
            result = CliRunner().invoke(main, [*arguments, "--config", str(self.config)])
            self.assertEqual(result.exit_code, code, result.output)
        self.assertIn("1. denied AUTHENTICATE by password", result.stdout)
        self.assertEqual(broker.stop(), 0)

    def test_another_user_serves(self) -> None:
        """With ``--uid`` root makes the files, and they belong to the user that serves."""
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can become another user")
        nobody = pwd.getpwnam("nobody")
        if not all(map(_others_can_reach, (CHECKOUT, Path(twisted.__file__).parent))):
            raise unittest.SkipTest("this checkout or its environment is for root alone, nobody cannot serve with it")
        broker = self.start("--uid", "nobody")
        self.assertEqual(Path(f"/proc/{broker.pid}").stat().st_uid, nobody.pw_uid)
        for path in (self.root / "certs").iterdir():
            status = path.lstat()  # the control socket's lock is a link that leads nowhere
            self.assertEqual((status.st_uid, status.st_gid), (nobody.pw_uid, nobody.pw_gid), path)
        self.assertEqual(broker.stop(), 0, broker.log)

    def test_daemon(self) -> None:
        """It starts in another folder than it was called from, goes to the background, and ends at SIGTERM."""
        log, pid_file = self.root / "log", self.root / "pid"
        arguments = ["--rundir", "/", "--pidfile", str(pid_file), "--logfile", "log"]
        starter = BrokerProcess(self.config, self.root, twistd_arguments=arguments)
        starter.spawn()
        self.assertEqual(starter.wait(30), 0, starter.log)
        self.assertIn("mosquitto_sub -i alice-sub", starter.log)
        pid = int(pid_file.read_text())
        self.assertIn("listening on tls 127.0.0.1:", log.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while pid_file.exists():
            self.assertLess(time.monotonic(), deadline, log.read_text())
            time.sleep(0.02)
        self.assertIn("SIGTERM received, stopping", log.read_text())
