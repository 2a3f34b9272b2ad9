"""Runs one module of eclipse-paho/paho.mqtt.testing: paho_module.py DIRECTORY MODULE PORT [CASE…]

The modules read their own command line in a way that unittest does not survive, so they are imported
and told where the broker is. Prints a line `CASE {"name": …, "reason": …}` for each, with null for
the reason if it passed, and `END` when all were told.
"""

import importlib
import json
import signal
import sys
import time
import unittest

# The slowest takes 40 s. Some wait for ever for what does not come.
CASE_SECONDS = 120

directory, module_name, port, *names = sys.argv[1:]
sys.argv = sys.argv[:1]
sys.path.insert(0, directory)
module = importlib.import_module(module_name)
module.host, module.port = "127.0.0.1", int(port)
# What the modules' own main functions set.
module.topics = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
module.wildtopics = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")
module.nosubscribe_topics = ("test/nosubscribe",)
module.topic_prefix = "client_test5/"


def give_up(_signal, _frame):
    raise TimeoutError(f"not done after {CASE_SECONDS} s")


signal.signal(signal.SIGALRM, give_up)


class Result(unittest.TextTestResult):
    def report(self, test, reason):
        # A failed set-up has no method name.
        name = getattr(test, "_testMethodName", str(test))
        case = {"name": name, "reason": reason and reason.strip().splitlines()[-1]}
        print(f"CASE {json.dumps(case)}", flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()
        signal.alarm(CASE_SECONDS)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def addSuccess(self, test):
        super().addSuccess(test)
        print(f"{time.monotonic() - self.started:.1f} s")
        self.report(test, None)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.report(test, self._exc_info_to_string(error, test))

    def addError(self, test, error):
        super().addError(test, error)
        self.report(test, self._exc_info_to_string(error, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report(test, f"skipped: {reason}")


loader = unittest.TestLoader()
if names:
    suite = loader.loadTestsFromNames(names, module.Test)
else:
    suite = loader.loadTestsFromTestCase(module.Test)
unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
print("END", flush=True)
