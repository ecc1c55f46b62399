#!/usr/bin/env python3
"""Writes avro.json, avro-again.json and protobuf.json: messages by independent implementations, and the rows that they hold.

    python3 -m venv V && V/bin/pip install fastavro==1.13.1 grpcio-tools==1.85.1 && V/bin/python make.py

The tests read the files; Python is needed only to make them anew. Seeded: the same files every time.
"""
import base64
import datetime
import decimal
import io
import json
import os
import random
import tempfile

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

HERE = os.path.dirname(os.path.abspath(__file__))
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
WORDS = ["", "a", "twelve bytes", "thirteen byte", "grün", "日本語のとても長いテキスト", 'quoted "text"', "x" * 100]


def iso(micros):
    time = EPOCH + datetime.timedelta(microseconds=micros)
    return time.strftime("%Y-%m-%dT%H:%M:%S") + f".{time.microsecond:06d}Z"


def as_bytes(value):
    """As the JSON rows show bytes: text where they are UTF-8, else base64."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


AVRO = {
    "type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "id", "type": "long"},
        {"name": "unwanted", "type": {"type": "map", "values": {"type": "array", "items": ["null", "double"]}}},
        {"name": "count", "type": "int"},
        {"name": "ratio", "type": "float"},
        {"name": "price", "type": ["null", "double"], "default": None},
        {"name": "paid", "type": "boolean"},
        {"name": "customer", "type": ["string", "null"]},
        {"name": "payload", "type": "bytes"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3}},
        {"name": "tax", "type": {"type": "fixed", "name": "Tax", "size": 6, "logicalType": "decimal",
                                 "precision": 12, "scale": 2}},
        {"name": "state", "type": {"type": "enum", "name": "State",
                                   "symbols": ["OPEN", "WAITING_FOR_PAYMENT", "CLOSED"]}},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
            {"name": "sku", "type": "string"},
            {"name": "more", "type": ["null", "Line"]},
            {"name": "sizes", "type": {"type": "array", "items": ["null", "int"]}}]}}},
        {"name": "labels", "type": {"type": "map", "values": ["null", "string"]}},
        {"name": "address", "type": ["null", {"type": "record", "name": "Address", "fields": [
            {"name": "city", "type": "string"}, {"name": "zip", "type": ["null", "int"]}]}]},
    ]}

AVRO_COLUMNS = [
    ("id", "int64"), ("count", "int64"), ("ratio", "float64"), ("price", "float64"), ("paid", "bool"),
    ("customer", "string"), ("payload", "bytes"), ("at", "timestamp"), ("seen", "timestamp"), ("day", "date"),
    ("total", "decimal(30,5)"), ("tax", "decimal(12,2)"), ("state", "string"), ("hash", "bytes"),
    ("lines", "list<struct<sku string, sizes list<int32>>>"), ("labels", "list<struct<key string, value string>>"),
    ("address", "struct<zip int64, city string, street string>"), ("missing", "string"),
]


def avro_line(rng, depth):
    return {"sku": rng.choice(WORDS), "more": avro_line(rng, depth - 1) if depth else None,
            "sizes": [rng.choice([None, rng.randrange(-2**31, 2**31)]) for _ in range(rng.randrange(4))]}


def avro_case(rng):
    decimal.getcontext().prec = 50
    micros = rng.randrange(-10**15, 4 * 10**15)
    seen = rng.choice([None, rng.randrange(-10**15, 4 * 10**15)])
    days = rng.randrange(-20000, 40000)
    total = decimal.Decimal(rng.randrange(-10**rng.randrange(1, 20), 10**19)).scaleb(-3)
    tax = decimal.Decimal(rng.randrange(-10**11, 10**11)).scaleb(-2)
    ratio = rng.randrange(-1000, 1000) / 8
    order = {
        "id": rng.choice([0, -1, 2**63 - 1, -2**63, rng.randrange(-10**6, 10**6)]),
        "unwanted": {w: [rng.choice([None, 1.5]) for _ in range(rng.randrange(3))]
                     for w in rng.sample(WORDS, rng.randrange(3))},
        "count": rng.choice([0, 63, 64, -64, -65, 2**31 - 1, -2**31]), "ratio": ratio,
        "price": rng.choice([None, rng.uniform(-1e6, 1e6)]), "paid": rng.random() < 0.5,
        "customer": rng.choice([None] + WORDS), "payload": rng.choice([b"", b"text", bytes(rng.randbytes(20)), b"\xff"]),
        "at": micros // 1000, "seen": seen, "day": EPOCH.date() + datetime.timedelta(days=days), "total": total,
        "tax": tax, "state": rng.choice(AVRO["fields"][13]["type"]["symbols"]), "hash": bytes(rng.randbytes(4)),
        "lines": [avro_line(rng, rng.randrange(3)) for _ in range(rng.randrange(4))],
        "labels": {w: rng.choice([None] + WORDS) for w in rng.sample(WORDS, rng.randrange(4))},
        "address": rng.choice([None, {"city": rng.choice(WORDS), "zip": rng.choice([None, 12345])}]),
    }
    data = io.BytesIO()
    schema = fastavro.parse_schema(AVRO)
    fastavro.schemaless_writer(data, schema, dict(order, seen=None if seen is None else seen))
    address = order["address"]
    row = {
        "id": order["id"], "count": order["count"], "ratio": ratio, "price": order["price"], "paid": order["paid"],
        "customer": order["customer"], "payload": as_bytes(order["payload"]), "at": iso(micros // 1000 * 1000),
        "seen": None if seen is None else iso(seen), "day": order["day"].isoformat(), "total": f"{total:.5f}",
        "tax": f"{tax:.2f}", "state": order["state"], "hash": as_bytes(order["hash"]),
        "lines": [{"sku": line["sku"], "sizes": line["sizes"]} for line in order["lines"]],
        "labels": [{"key": k, "value": v} for k, v in order["labels"].items()],
        "address": address and {"zip": address["zip"], "city": address["city"], "street": None}, "missing": None,
    }
    return {"message": data.getvalue().hex(), "row": row}


# What is read and written again has to give the same bytes: every field has a column.
AGAIN = {
    "type": "record", "name": "Row", "fields": [
        {"name": name, "type": kind} for name, kind in [
            ("id", "long"), ("small", ["null", "int"]), ("ratio", "float"), ("price", ["double", "null"]),
            ("paid", "boolean"), ("name", ["null", "string"]), ("payload", "bytes"),
            ("at", ["null", {"type": "long", "logicalType": "timestamp-micros"}]),
            ("millis", {"type": "long", "logicalType": "timestamp-millis"}),
            ("day", {"type": "int", "logicalType": "date"}),
            ("total", ["null", {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 4}]),
            ("tax", {"type": "fixed", "name": "Tax", "size": 7, "logicalType": "decimal", "precision": 15, "scale": 2}),
            ("state", {"type": "enum", "name": "State", "symbols": ["OPEN", "WAITING_FOR_PAYMENT"]}),
            ("hash", {"type": "fixed", "name": "Hash", "size": 4}),
            ("tags", {"type": "array", "items": ["null", "string"]}),
            ("labels", {"type": "map", "values": "long"}),
            ("line", ["null", {"type": "record", "name": "Line", "fields": [
                {"name": "sku", "type": "string"}, {"name": "sizes", "type": {"type": "array", "items": "int"}}]}]),
        ]]}
AGAIN_COLUMNS = [
    ("id", "int64"), ("small", "int32"), ("ratio", "float32"), ("price", "float64"), ("paid", "bool"),
    ("name", "string"), ("payload", "bytes"), ("at", "timestamp"), ("millis", "timestamp"), ("day", "date"),
    ("total", "decimal(30,4)"), ("tax", "decimal(15,2)"), ("state", "string"), ("hash", "bytes"),
    ("tags", "list<string>"), ("labels", "list<struct<key string, value int64>>"),
    ("line", "struct<sku string, sizes list<int32>>"),
]


def again_case(rng):
    data = io.BytesIO()
    fastavro.schemaless_writer(data, fastavro.parse_schema(AGAIN), {
        "id": rng.choice([0, 2**63 - 1, -2**63]), "small": rng.choice([None, -2**31]),
        "ratio": rng.randrange(-99, 99) / 8, "price": rng.choice([None, rng.uniform(-9, 9)]),
        "paid": rng.random() < 0.5, "name": rng.choice([None] + WORDS), "payload": bytes(rng.randbytes(rng.randrange(20))),
        "at": rng.choice([None, rng.randrange(-10**15, 10**15)]), "millis": rng.randrange(-10**12, 10**12),
        "day": rng.randrange(-9999, 9999),
        # Not -128: fastavro writes a byte more than it needs.
        "total": rng.choice([None] + [decimal.Decimal(v).scaleb(-4) for v in (0, 127, 128, -129, 10**29, -10**29)]),
        "tax": decimal.Decimal(rng.randrange(-10**14, 10**14)).scaleb(-2),
        "state": rng.choice(["OPEN", "WAITING_FOR_PAYMENT"]), "hash": bytes(rng.randbytes(4)),
        "tags": [rng.choice([None] + WORDS) for _ in range(rng.randrange(4))],
        "labels": {w: rng.randrange(-9, 9) for w in rng.sample(WORDS, rng.randrange(4))},
        "line": rng.choice([None, {"sku": rng.choice(WORDS), "sizes": [1, -1][:rng.randrange(3)]}]),
    })
    return {"message": data.getvalue().hex()}


PROTO = '''syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "parts.proto";

message Order {
  enum State { OPEN = 0; WAITING_FOR_PAYMENT = 1; CLOSED = 7; }
  message Line {
    string sku = 1;
    repeated sint32 sizes = 2;
    Line more = 3;
  }
  int64 id = 1;
  int32 count = 2;
  uint32 small = 3;
  uint64 large = 4;
  sint64 delta = 5;
  fixed32 f32 = 6;
  fixed64 f64 = 7;
  sfixed32 s32 = 8;
  sfixed64 s64 = 9;
  float ratio = 10;
  double price = 11;
  optional double discount = 12;
  bool paid = 13;
  string customer = 14;
  optional string note = 15;
  bytes payload = 16;
  State state = 17;
  google.protobuf.Timestamp at = 18;
  google.protobuf.Int64Value wrapped = 19;
  repeated Line lines = 20;
  map<string, int64> labels = 21;
  map<int32, shop.Part> parts = 22;
  oneof choice { string card = 23; Line voucher = 24; int64 account = 25; }
  repeated double points = 26 [packed = false];
  repeated State states = 2000;
  Part part = 536870911;
}
'''
PARTS = '''syntax = "proto3";
package shop;
message Unused { string x = 1; }
message Part { string city = 1; int32 zip = 2; optional int32 floor = 3; }
'''

PROTO_COLUMNS = [
    ("id", "int64"), ("count", "int32"), ("small", "int64"), ("large", "decimal(20,0)"), ("delta", "int64"),
    ("f32", "int64"), ("f64", "decimal(20,0)"), ("s32", "int32"), ("s64", "int64"), ("ratio", "float64"),
    ("price", "float64"), ("discount", "float64"), ("paid", "bool"), ("customer", "string"), ("note", "string"),
    ("payload", "bytes"), ("state", "string"), ("at", "timestamp"), ("wrapped", "int64"),
    ("lines", "list<struct<sku string, sizes list<int32>>>"), ("labels", "list<struct<key string, value int64>>"),
    ("parts", "list<struct<key int32, value struct<city string, zip int32, floor int32>>>"), ("card", "string"),
    ("voucher", "struct<sku string, sizes list<int32>>"), ("account", "int64"), ("points", "list<float64>"),
    ("states", "list<string>"), ("part", "struct<city string, zip int32, floor int32>"),
]


def proto_line(rng, line, depth=0):
    line.sku = rng.choice(WORDS)
    line.sizes.extend(rng.randrange(-2**31, 2**31) for _ in range(rng.randrange(4)))
    if depth:
        proto_line(rng, line.more, depth - 1)


def proto_case(rng, Order):
    order = Order()
    names = {0: "OPEN", 1: "WAITING_FOR_PAYMENT", 7: "CLOSED"}
    if rng.random() < 0.9:
        order.id = rng.choice([0, -1, 2**63 - 1, -2**63, 5])
        order.count = rng.choice([0, -1, 2**31 - 1, -2**31])
        order.small = rng.choice([0, 2**32 - 1])
        order.large = rng.choice([0, 2**64 - 1, 7])
        order.delta = rng.choice([0, -2**63, 2**63 - 1])
        order.f32, order.f64 = rng.choice([0, 2**32 - 1]), rng.choice([0, 2**64 - 1])
        order.s32, order.s64 = rng.choice([0, -2**31]), rng.choice([0, -2**63])
        order.ratio, order.price = rng.randrange(-1000, 1000) / 8, rng.uniform(-1e6, 1e6)
        order.paid, order.customer = rng.random() < 0.5, rng.choice(WORDS)
        order.payload = rng.choice([b"", b"text", bytes(rng.randbytes(20)), b"\xff"])
        order.state = rng.choice([0, 1, 7])
    if rng.random() < 0.5:
        order.discount = rng.choice([0.0, 1.5])
        order.note = rng.choice(WORDS)
        micros = rng.randrange(-10**15, 4 * 10**15)
        order.at.seconds, order.at.nanos = micros // 10**6, micros % 10**6 * 1000
        order.wrapped.value = rng.choice([0, 9])
    for _ in range(rng.randrange(3)):
        proto_line(rng, order.lines.add(), rng.randrange(3))
    for word in rng.sample(WORDS, rng.randrange(4)):
        order.labels[word] = rng.randrange(-5, 5)
    for key in rng.sample(range(-3, 3), rng.randrange(3)):
        order.parts[key].city = rng.choice(WORDS)
        if rng.random() < 0.5:
            order.parts[key].floor = 0
    choice = rng.randrange(4)
    if choice == 0:
        order.card = rng.choice(WORDS)
    elif choice == 1:
        proto_line(rng, order.voucher)
    elif choice == 2:
        order.account = 0
    order.points.extend(rng.choice([0.0, -1.25]) for _ in range(rng.randrange(3)))
    order.states.extend(rng.choice([0, 1, 7]) for _ in range(rng.randrange(3)))
    if rng.random() < 0.5:
        order.part.zip = rng.randrange(3)

    def line(value):
        return {"sku": value.sku, "sizes": list(value.sizes)}

    def part(value):
        return {"city": value.city, "zip": value.zip, "floor": value.floor if value.HasField("floor") else None}

    def given(name, show=lambda value: value):
        return show(getattr(order, name)) if order.HasField(name) else None

    data = order.SerializeToString(deterministic=True)
    order.ParseFromString(data)
    row = {
        "id": order.id, "count": order.count, "small": order.small, "large": str(order.large), "delta": order.delta,
        "f32": order.f32, "f64": str(order.f64), "s32": order.s32, "s64": order.s64, "ratio": order.ratio,
        "price": order.price, "discount": given("discount"), "paid": order.paid, "customer": order.customer,
        "note": given("note"), "payload": as_bytes(order.payload), "state": names[order.state],
        "at": given("at", lambda at: iso(at.seconds * 10**6 + at.nanos // 1000)),
        "wrapped": given("wrapped", lambda wrapped: wrapped.value), "lines": [line(x) for x in order.lines],
        "labels": sorted(({"key": k, "value": v} for k, v in order.labels.items()), key=lambda x: x["key"]),
        "parts": sorted(({"key": k, "value": part(v)} for k, v in order.parts.items()), key=lambda x: x["key"]),
        "card": given("card"), "voucher": given("voucher", line), "account": given("account"),
        "points": list(order.points), "states": [names[x] for x in order.states], "part": given("part", part),
    }
    return {"message": data.hex(), "row": row}


def proto_messages():
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("order.proto", PROTO), ("parts.proto", PARTS)):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        out = os.path.join(folder, "out.desc")
        include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
        assert protoc.main(["protoc", f"-I{folder}", f"-I{include}", f"--descriptor_set_out={out}",
                            "--include_imports", "order.proto"]) == 0
        with open(out, "rb") as file:
            data = file.read()
    files = descriptor_pb2.FileDescriptorSet.FromString(data)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return data, message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))


def write(name, value):
    with open(os.path.join(HERE, name), "w") as file:
        json.dump(value, file, ensure_ascii=False, indent=0, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    rng = random.Random(20250101)
    write("avro.json", {"schema": json.dumps(AVRO), "columns": AVRO_COLUMNS,
                        "cases": [avro_case(rng) for _ in range(60)]})
    write("avro-again.json", {"schema": json.dumps(AGAIN), "columns": AGAIN_COLUMNS,
                              "cases": [again_case(rng) for _ in range(60)]})
    descriptors, Order = proto_messages()
    write("protobuf.json", {"schema": PROTO, "imports": {"parts.proto": PARTS},
                            "descriptors": descriptors.hex(), "columns": PROTO_COLUMNS,
                            "cases": [proto_case(rng, Order) for _ in range(60)]})
