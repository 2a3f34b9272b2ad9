"""The stories of scenario.rs, told with paho-mqtt. Started by script.rs with its assignment as JSON;
prints `ok FEATURE` or `FAIL FEATURE reason` for each."""

import json
import os
import queue
import sys
import time

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TASK = json.loads(sys.argv[1])
PATIENCE = TASK["patience_seconds"]
IS_V5 = TASK["version"] == 5


class Refused(Exception):
    """The broker, or TLS, did not let the client in."""


class Session:
    """A paho client that is connected, with what has arrived."""

    def __init__(self, story, name, port=None, clean=True, will=None, tls=False, certificate=False):
        self.arrived = queue.Queue()
        self.events = queue.Queue()
        self.clean = clean
        arguments = {} if IS_V5 else {"clean_session": clean}
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=f"paho-{story.name}-{name}",
            protocol=paho.MQTTv5 if IS_V5 else paho.MQTTv311,
            transport="websockets" if TASK["transport"] == "ws" else "tcp",
            reconnect_on_failure=False,
            **arguments,
        )
        self.client.connect_timeout = PATIENCE
        if TASK["transport"] == "ws":
            self.client.ws_set_options(path="/mqtt")
        if tls:
            self.client.tls_set(
                ca_certs=TASK["authority"],
                certfile=TASK["certificate"] if certificate else None,
                keyfile=TASK["key"] if certificate else None,
            )
        if will:
            self.client.will_set(*will, qos=1)
        self.client.on_connect = lambda c, u, flags, reason, p: self.events.put(("connect", reason))
        self.client.on_connect_fail = lambda c, u: self.events.put(("connect", "no connection"))
        self.client.on_disconnect = lambda c, u, flags, reason, p: self.events.put(("end", reason))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.events.put(("grant", reasons))
        self.client.on_message = lambda c, u, message: self.arrived.put(message)
        self.connect(port or TASK["plain_port"])

    def connect(self, port):
        arguments = {}
        if IS_V5:
            properties = Properties(PacketTypes.CONNECT)
            if not self.clean:
                properties.SessionExpiryInterval = 300
            arguments = {"clean_start": self.clean, "properties": properties}
        try:
            self.client.connect("localhost", port, keepalive=60, **arguments)
        except OSError as error:
            raise Refused(error) from error
        self.client.loop_start()
        kind, reason = self.event()
        if kind != "connect" or getattr(reason, "is_failure", True):
            self.client.loop_stop()
            raise Refused(f"{kind}: {reason}")

    def event(self):
        return self.events.get(timeout=PATIENCE)

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        kind, reasons = self.event()
        assert kind == "grant" and not reasons[0].is_failure, f"{kind}: {reasons}"

    def publish(self, topic, payload, qos, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(PATIENCE)
        assert info.is_published(), f"{topic} was not acknowledged"

    def next(self, patience=PATIENCE):
        return self.arrived.get(timeout=patience)

    def expect(self, topic, payload, qos, retain=False):
        message = self.next()
        got = (message.topic, message.payload.decode(), message.qos, bool(message.retain))
        assert got == (topic, payload, qos, retain), f"expected {topic} {payload[:50]}, got {got}"[:300]
        return message

    def disconnect(self):
        self.client.disconnect()
        self.client.loop_stop()

    def abort(self):
        """The connection ends without a DISCONNECT."""
        sock = self.client.socket()
        sock.close()
        self.client.loop_stop()


class Story:
    def __init__(self, feature):
        self.feature = feature
        self.name = f"{TASK['prefix']}-{feature}"

    def topic(self, name):
        return f"interop/paho-{self.name}/{name}"

    def session(self, name, **options):
        return Session(self, name, **options)

    def tell(self):
        getattr(self, self.feature)()

    def each_once_and_in_order(self, qos):
        topic = self.topic("t")
        subscriber = self.session("subscriber")
        subscriber.subscribe(topic, qos)
        publisher = self.session("publisher")
        for payload in "12345":
            publisher.publish(topic, payload, qos)
        for payload in "12345":
            subscriber.expect(topic, payload, qos)
        publisher.disconnect()
        subscriber.disconnect()

    def qos0(self):
        self.each_once_and_in_order(0)

    def qos1(self):
        self.each_once_and_in_order(1)

    def qos2(self):
        self.each_once_and_in_order(2)

    def retained(self):
        topic = self.topic("state")
        publisher = self.session("publisher")
        publisher.publish(topic, "old", 1, retain=True)
        publisher.publish(topic, "kept", 1, retain=True)
        early = self.session("early")
        early.subscribe(topic, 1)
        early.expect(topic, "kept", 1, retain=True)
        publisher.publish(topic, "", 1, retain=True)
        early.expect(topic, "", 1)
        late = self.session("late")
        late.subscribe(topic, 1)
        publisher.publish(topic, "live", 1)
        late.expect(topic, "live", 1)
        for session in (publisher, early, late):
            session.disconnect()

    def will(self):
        topic = self.topic("last")
        heir = self.session("heir")
        heir.subscribe(topic, 1)
        self.session("polite", will=(topic, "of the polite")).disconnect()
        self.session("gone", will=(topic, "of the gone")).abort()
        heir.expect(topic, "of the gone", 1)
        heir.disconnect()

    def shared(self):
        topic = self.topic("work")
        workers = [self.session("worker-1"), self.session("worker-2")]
        for worker in workers:
            worker.subscribe(f"$share/workers/{topic}", 1)
        publisher = self.session("publisher")
        expected = [str(number) for number in range(10)]
        for payload in expected:
            publisher.publish(topic, payload, 1)
        done = [[], []]
        deadline = time.monotonic() + PATIENCE
        while sum(map(len, done)) < len(expected) and time.monotonic() < deadline:
            for worker, payloads in zip(workers, done):
                try:
                    payloads.append(worker.next(0.02).payload.decode())
                except queue.Empty:
                    pass
        assert sorted(done[0] + done[1]) == expected and all(done), f"the members got {done}"
        for session in (publisher, *workers):
            session.disconnect()

    def wildcards(self):
        house = f"paho-{self.name}"
        subscriber = self.session("subscriber")
        subscriber.subscribe("home/+/#", 1)
        publisher = self.session("publisher")
        matching = [f"home/{house}", f"home/{house}/kitchen", f"home/{house}/kitchen/light"]
        for topic in [f"garden/{house}", *matching[:2], f"home-{house}/kitchen", matching[2]]:
            publisher.publish(topic, "on", 1)
        arrived = []
        while len(arrived) < len(matching):
            topic = subscriber.next().topic
            # Other houses are other clients' business.
            if house in topic:
                arrived.append(topic)
        assert sorted(arrived) == matching, f"home/+/# got {arrived}"
        publisher.disconnect()
        subscriber.disconnect()

    def round_trip(self, **options):
        topic, payload = self.topic("t"), "x" * 20_000
        session = self.session("both", tls=True, **options)
        session.subscribe(topic, 1)
        session.publish(topic, payload, 1)
        session.expect(topic, payload, 1)
        session.disconnect()

    def tls(self):
        self.round_trip(port=TASK["tls_port"])

    def certificate(self):
        port = TASK["mutual_tls_port"]
        try:
            self.session("stranger", port=port, tls=True)
        except Refused:
            pass
        else:
            raise AssertionError("a client without a certificate was let in")
        self.round_trip(port=port, certificate=True)

    def offline(self):
        topic = self.topic("t")
        absent = self.session("absent", clean=False)
        absent.subscribe(topic, 1)
        absent.disconnect()
        publisher = self.session("publisher")
        for payload in "123":
            publisher.publish(topic, payload, 1)
        publisher.disconnect()
        # It does not subscribe again: the subscription is part of the session.
        present = self.session("absent", clean=False)
        for payload in "123":
            present.expect(topic, payload, 1)
        present.disconnect()

    def properties(self):
        topic = self.topic("t")
        session = self.session("both")
        session.subscribe(topic, 1)
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
        session.publish(topic, "payload", 1, properties=properties)
        message = session.expect(topic, "payload", 1)
        got = message.properties.UserProperty
        assert got == properties.UserProperty, f"got {got}"
        session.disconnect()

    def request(self):
        requests, responses = self.topic("requests"), self.topic("responses")
        responder = self.session("responder")
        responder.subscribe(requests, 1)
        requester = self.session("requester")
        requester.subscribe(responses, 1)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = responses
        properties.CorrelationData = b"the-first"
        requester.publish(requests, "question", 1, properties=properties)
        asked = responder.expect(requests, "question", 1).properties
        answer = Properties(PacketTypes.PUBLISH)
        answer.CorrelationData = asked.CorrelationData
        responder.publish(asked.ResponseTopic, "answer", 1, properties=answer)
        answered = requester.expect(responses, "answer", 1)
        assert answered.properties.CorrelationData == b"the-first", answered.properties
        requester.disconnect()
        responder.disconnect()


for feature in TASK["features"]:
    try:
        Story(feature).tell()
        print("ok", feature, flush=True)
    except Exception as error:  # Each failure is one cell of the table.
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        print("FAIL", feature, reason, flush=True)
# A failed story may have left threads behind that never end.
os._exit(0)
