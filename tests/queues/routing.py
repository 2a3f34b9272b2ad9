"""Callbacks by filter with paho-mqtt: what is delivered has to match the filter as it was subscribed
to, or the callback that belongs to it is never called.

The assignment is JSON: port, version, and cases of a filter, the filter that the client's library
routes by, and the topics to publish to. Prints `ok FILTER` or `FAIL FILTER reason` for each."""

import json
import queue
import sys

import paho.mqtt.client as paho

TASK = json.loads(sys.argv[1])
PATIENCE = 15


def client(name):
    grants = queue.Queue()
    made = paho.Client(
        paho.CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=paho.MQTTv5 if TASK["version"] == 5 else paho.MQTTv311,
        reconnect_on_failure=False,
    )
    made.on_subscribe = lambda c, u, mid, reasons, p: grants.put(reasons[0])
    made.connect("127.0.0.1", TASK["port"])
    made.loop_start()
    return made, grants


def tell(case):
    """Subscribes, publishes, and sees which callback is called with what."""
    called = queue.Queue()
    consumer, grants = client("consumer")
    consumer.on_message = lambda c, u, message: called.put(("nobody's", message.topic))
    consumer.message_callback_add(
        case["routed"], lambda c, u, message: called.put(("mine", message.topic))
    )
    consumer.subscribe(case["filter"], 1)
    grant = grants.get(timeout=PATIENCE)
    assert not grant.is_failure, f"refused: {grant}"
    producer, _ = client("producer")
    for topic, expected in case["topics"]:
        producer.publish(topic, "x", 1).wait_for_publish(PATIENCE)
        callback, delivered = called.get(timeout=PATIENCE)
        assert callback == "mine", f"{topic} came as {delivered}"
        assert delivered.startswith(expected), f"{topic} came as {delivered}"
        if "/$lease/" in delivered:
            receipt = delivered.split("/")[3]
            ack = f"$queue/jobs/$ack/{receipt}"
            producer.publish(ack, "", 1).wait_for_publish(PATIENCE)
    for one in (consumer, producer):
        one.disconnect()
        one.loop_stop()


for case in TASK["cases"]:
    try:
        tell(case)
        print("ok", case["filter"], flush=True)
    except Exception as error:  # Each failure is told, and the others are tried.
        print("FAIL", case["filter"], f"{type(error).__name__}: {error}", flush=True)
