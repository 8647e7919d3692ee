"""Requests that nobody sends by mistake, as bytes, each with the answer it must get.

- `HOSTILE`: refused with a problem
- `GOOD`: taken, by either way that a prediction can go
- `POISONED`: taken, with poison in their headers and in the comments of feedback
- `HALF`: the beginnings of requests whose rest never comes, of which `HALF_BODIES` have all their headers
"""

from __future__ import annotations

import gzip
import json
from typing import Literal, NamedTuple

from tests.support.server import message

BODY_BYTES = 3 << 20  # room for a row of 10^6 numbers; the server must be told so
JOB = "01a206a5-7cf9-7f24-8992-729b23f48647"
TRACE = "0af7651916cd43dd8448eb211c80319c"
BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
_PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Hostile(NamedTuple):
    """One request, its status and the word of its problem."""

    name: str
    sent: bytes
    status: int
    word: str
    ends: Literal["", "body", "parser"] = ""
    """Whether the connection ends with the answer: by a body that is not what its headers say, or by what is no HTTP.

    The latter takes with it what came in the same packet before it.
    """


class Taken(NamedTuple):
    """One request that is answered with 200."""

    name: str
    sent: bytes
    comment: str | None = None
    """What the record of a feedback must hold."""


def ask(body: bytes = BODY, path: str = "/predict", /, **headers: str | None) -> bytes:
    """Return a prediction's request, ordinary unless the headers say otherwise."""
    declared: dict[str, str | None] = {"Content_Type": "application/json"}
    return message("POST", path, body, **declared | headers)


def say(body: bytes, path: str = f"/feedback/{JOB}", /) -> bytes:
    """Return a feedback's request."""
    return ask(body, path)


def chunked(chunks: bytes, **headers: str | None) -> bytes:
    """Return a prediction's request in chunks that are given as they are."""
    return ask(chunks, **{"Content_Length": None, "Transfer_Encoding": "chunked"} | headers)


def _http(name: str, sent: bytes) -> Hostile:
    return Hostile(name, sent, 400, "bad-request", "parser")


def _head(lines: bytes, first: bytes = b"GET /label HTTP/1.1") -> bytes:
    return first + b"\r\n" + lines + b"\r\n\r\n"


_GOOD_CHUNK = b"1c\r\n%b\r\n" % BODY
_NO_HTTP = [
    _http("zero bytes", bytes(100)),
    _http("TLS", bytes.fromhex("16030100f5010000f1") + bytes(240)),
    _http("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    _http("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
    _http("Redis", b"*1\r\n$4\r\nINFO\r\n"),
    _http("PROXY protocol", b"PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\n" + _head(b"Host: test")),
    _http("HTTP/1.2", _head(b"Host: test", b"GET /label HTTP/1.2")),
    _http("HTTP/1.10", _head(b"Host: test", b"GET /label HTTP/1.10")),
    _http("line feeds only", b"GET /label HTTP/1.1\nHost: test\n\n"),
    _http("carriage returns only", b"GET /label HTTP/1.1\rHost: test\r\r"),
    _http("method in small letters", _head(b"Host: test", b"get /label HTTP/1.1")),
    _http("method that is none", _head(b"Host: test", b"FETCH /label HTTP/1.1")),
    _http("method of 20,000 letters", _head(b"Host: test", b"A" * 20_000 + b" / HTTP/1.1")),
    _http("no Host", _head(b"X: y")),
    _http("two Hosts", _head(b"Host: a\r\nHost: b")),
    _http("header without a colon", _head(b"Host: test\r\nX")),
    _http("header without a name", _head(b"Host: test\r\n: y")),
    _http("space before the colon", _head(b"Host: test\r\nTransfer-Encoding : chunked", b"POST /predict HTTP/1.1")),
    _http("zero byte in a name", _head(b"Host: test\r\nX\0: y")),
    _http("header that goes on in the next line", _head(b"Host: test\r\nX-Request-Id: a\r\n b")),
    _http("path that is no ASCII", message("GET", "/\udcff")),
    _http("escape sequence in the query", ask(BODY, "/predict?\x1b[31m")),
    _http("absolute path with half an address", message("GET", "http://[/label")),
    _http("absolute path with a port of 40 bits", message("GET", "http://a:1099511627776/label")),
    _http("star for a path", message("GET", "*")),
    *(
        _http(f"{what} in {header.replace('_', '-')}", ask(**{header: f"a{byte}b"}))
        for what, byte in (("escape sequence", "\x1b[31m"), ("zero byte", "\0"), ("new line", "\n{}"))
        for header in ("X_Request_Id", "User_Agent", "traceparent")
    ),
    *(
        _http(f"Content-Length {length!r}", ask(Content_Length=length))
        for length in ("-1", "+28", "0x1c", "2_8", "1e1", "", "28, 29", "٢٨", "18446744073709551616", "9" * 400)
    ),
    _http("empty Transfer-Encoding", ask(Transfer_Encoding="")),
    _http("lone carriage return in a value", _head(b"Host: test\r\nX: a\rb")),
    _http("two lengths", _head(b"Host: test\r\nContent-Length: 1\r\nContent-Length: 2", b"POST /predict HTTP/1.1")),
    _http("length and chunks", chunked(b"0\r\n\r\n", Content_Length="5")),
    _http("chunks of another kind", chunked(b"0\r\n\r\n", Transfer_Encoding="xchunked")),
    _http("chunks, then gzip", chunked(b"0\r\n\r\n", Transfer_Encoding="chunked, gzip")),
    _http("no chunks at all", chunked(BODY)),
    _http("chunk of a negative size", chunked(b"-1\r\n")),
    _http("chunk of 2^68 bytes", chunked(b"fffffffffffffffff\r\n")),
    _http("chunk that is longer than it says", chunked(b"1c\r\n%bxx\r\n0\r\n\r\n" % BODY)),
    _http("chunks with line feeds only", chunked(b"1c\n%b\n0\n\n" % BODY)),
]
_TOO_LONG = [
    *(
        Hostile(name, chunked(_GOOD_CHUNK + b"0\r\n" + trailers + b"\r\n"), 431, "headers-too-large", "parser")
        for name, trailers in (
            ("1,000 trailers", b"X: y\r\n" * 1000),
            ("trailer of 20,000 bytes", b"X: " + b"y" * 20_000 + b"\r\n"),
        )
    ),
    Hostile("path of 20,000 bytes", message("GET", "/" + "x" * 20_000), 414, "uri-too-long", "parser"),
    *(
        Hostile(name, _head(b"Host: test\r\n" + lines), 431, "headers-too-large", "parser")
        for name, lines in (
            ("20,000 bytes of one header", b"X: " + b"y" * 20_000),
            ("20,000 bytes of a header's name", b"X" * 20_000 + b": y"),
            ("1,000 headers", b"\r\n".join(b"X%d: y" % n for n in range(1000))),
            ("129 headers", b"\r\n".join(b"X%d: y" % n for n in range(129))),
            ("40,000 bytes of headers", b"\r\n".join(b"X%d: %b" % (n, b"y" * 1000) for n in range(40))),
        )
    ),
]
_NO_BODY = [
    Hostile(name, sent, 400, "bad-request")
    for name, sent in (
        ("not compressed", ask(Content_Encoding="gzip")),
        ("not deflated", ask(Content_Encoding="deflate")),
        ("something behind the compressed body", ask(gzip.compress(BODY) + b"xxxx", Content_Encoding="gzip")),
        ("wrong checksum", ask(gzip.compress(BODY)[:-8] + bytes(8), Content_Encoding="gzip")),
    )
]
_NO_JSON = [
    Hostile(name, ask(body), 400, "invalid-json")
    for name, body in (
        ("nothing", b""),
        ("blanks", b" \r\n\t" * 100),
        ("byte order mark", b"\xef\xbb\xbf" + BODY),
        ("UTF-16", BODY.decode().encode("utf-16")),
        ("zero bytes in the body", bytes(1000)),
        ("form", b"data=6.7&data=3.0"),
        ("XML", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'),
        ("pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."),
        ("cut off", BODY[:-1]),
        ("something behind the JSON", BODY + b"}"),
        ("two in one", BODY + b"\n" + BODY),
        ("remark", b'{"data":/* */[[1,2,3,4]]}'),
        ("quotes of Python", b"{'data':[[1,2,3,4]]}"),
        ("leading zero", b'{"data":[[01,2,3,4]]}'),
        ("hexadecimal", b'{"data":[[0x1,2,3,4]]}'),
        ("NaN", b'{"data":[[NaN,2,3,4]]}'),
        ("infinity", b'{"data":[[-Infinity,2,3,4]]}'),
        ("new line in a string", b'{"x":"a\nb","data":[[1,2,3,4]]}'),
        ("escape character in a string", b'{"x":"\x1b[31m","data":[[1,2,3,4]]}'),
        ("lone surrogate as a name", rb'{"\ud800":1,"data":[[1,2,3,4]]}'),
        ("lone surrogate as data", rb'{"data":"\udfff"}'),
        ("lists in lists, 10^6 deep", b'{"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b',"data":[[1,2,3,4]]}'),
        ("objects in objects, 100,000 deep", b'{"x":' * 100_000 + b"1" + b"}" * 100_000),
        ("rows in rows", b'{"data":' + b"[" * 1_000_000),
        ("objects in objects without an end", b'{"x":' * 100_000),
    )
]
_NO_ROW = [
    Hostile(name, ask(body), 422, "invalid-data")
    for name, body in (
        ("list without an end", b"[" * 1_000_000),
        ("text", b'"data"'),
        ("row of 10^6 numbers", b'{"data":[[' + b"1," * 999_999 + b"1]]}"),
        ("row without numbers", b'{"data":[[]]}'),
        ("number of 10^6 digits", b'{"data":[[' + b"9" * 1_000_000 + b",2,3,4]]}"),
        ("exponent of 10^6 digits", b'{"data":[[1e' + b"9" * 1_000_000 + b",2,3,4]]}"),
        ("number beyond float64", b'{"data":[[1e400,2,3,4]]}'),
        ("number beyond float32", b'{"data":[[-1e39,2,3,4]]}'),
        ("boolean", b'{"data":[[true,2,3,4]]}'),
        ("number as text", b'{"data":[["1",2,3,4]]}'),
        ("name of 10^6 bytes", b'{"' + b"k" * 1_000_000 + b'":1}'),
        ("100,000 names", b"{" + b",".join(b'"%d":1' % n for n in range(100_000)) + b"}"),
        ("data twice", b'{"data":[[1,2,3,4]],"data":[[1,2,3]]}'),
        ("escape sequence as a name", rb'{"\u001b[31m\n":1,"data":[[1,2,3]]}'),
        ("prototype", b'{"__proto__":{"data":[[1,2,3,4]]},"constructor":1}'),
    )
]
_TOO_LARGE = [
    Hostile(name, sent, 413, "content-too-large")
    for name, sent in (
        ("300,000 rows", ask(b'{"data":[' + b"[]," * 299_999 + b"[]]}", "/predict/batch")),
        ("257 rows", ask(json.dumps({"data": [[1, 2, 3, 4]] * 257}).encode(), "/predict/batch")),
        ("more bytes than are taken", ask(BODY.ljust(BODY_BYTES + 1))),
        ("more bytes in chunks", chunked(b"%x\r\n%b\r\n0\r\n\r\n" % (BODY_BYTES + 1, BODY.ljust(BODY_BYTES + 1)))),
        ("bomb of gzip", ask(gzip.compress(bytes(20_000_000)), Content_Encoding="gzip")),
        ("long feedback", say(b'{"comment":"' + b"x" * 4096 + b'"}')),
    )
]
_NO_MEDIA_TYPE = [
    Hostile(f"Content-Type {given[:20]!r}", ask(Content_Type=given), 415, "unsupported-media-type")
    for given in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream; x=application/json",
        "application/json, text/html",
        "json",
        "/",
        ";",
        "\udcff\udcfe/\udcff",
        "x/" + "y" * 8000,
    )
]
_NO_CODING = [
    Hostile(f"Content-Encoding {given[:20]!r}", ask(Content_Encoding=given), 415, "unsupported-coding")
    for given in ("br", "zstd", "compress", "gzip, gzip", "deflate,br", "\udcff", "gzip\u2028", "x" * 8000)
]
_NOWHERE = [
    Hostile(f"{method} {path[:40]!r}", message(method, path, BODY, Content_Type="application/json"), status, word)
    for method, path, status, word in (
        ("POST", "/predict/%0d%0aX-Injected:%20y%0d%0a%0d%0a{}", 404, "not-found"),
        ("GET", "/%1b[2J%1b]0;owned%07", 404, "not-found"),
        ("GET", "/%00", 404, "not-found"),
        ("GET", "/%ed%a0%80%ff%zz%", 404, "not-found"),
        ("GET", "/page/..%2f..%2f..%2fetc%2fpasswd", 404, "not-found"),
        ("GET", "/../../../etc/passwd", 404, "not-found"),
        ("GET", "//predict//test", 404, "not-found"),
        ("GET", "/" + "a/" * 4000, 404, "not-found"),
        ("GET", "/" + "%0a" * 2000, 404, "not-found"),
        ("POST", "/predict;x=y", 404, "not-found"),
        ("OPTIONS", "*", 404, "not-found"),
        ("TRACE", "/predict", 405, "method-not-allowed"),
        ("DELETE", "/predict/batch", 405, "method-not-allowed"),
        ("GET", "/predict?" + "x" * 8000, 405, "method-not-allowed"),
        ("POST", "/page/%00%0a", 405, "method-not-allowed"),
    )
]
_NO_FEEDBACK = [
    Hostile(f"feedback: {name}", sent, status, word)
    for name, sent, status, word in (
        ("new line in the job id", say(b'{"label":"setosa"}', "/feedback/%0a%1b" + "0" * 34), 422, "invalid-data"),
        ("digits that are no ASCII", say(b'{"label":"setosa"}', "/feedback/" + "%D9%A3" * 36), 422, "invalid-data"),
        ("job id of 4,000 digits", say(b'{"label":"setosa"}', "/feedback/" + "9" * 4000), 422, "invalid-data"),
        ("escape sequence as a label", say(rb'{"label":"\u001b[31m\nsetosa"}'), 422, "invalid-data"),
        ("escape sequence as a name", say(rb'{"\u001b]0;x\u0007\n":1}'), 422, "invalid-data"),
        ("index of 64 bits", say(b'{"index":18446744073709551616,"label":"setosa"}'), 422, "invalid-data"),
        ("index of 4,000 digits", say(b'{"index":' + b"9" * 4000 + b',"label":"setosa"}'), 422, "invalid-data"),
        ("index that is no integer", say(b'{"index":1.5,"label":"setosa"}'), 422, "invalid-data"),
        ("value beyond float64", say(b'{"value":1e400}'), 422, "invalid-data"),
        ("lists in lists", say(b'{"comment":' + b"[" * 4000), 422, "invalid-data"),
        ("lone surrogate", say(rb'{"comment":"\ud800"}'), 400, "invalid-json"),
        ("surrogates the wrong way round", say(rb'{"comment":"\ude00\ud83d"}'), 400, "invalid-json"),
        ("surrogate in UTF-8", say(b'{"comment":"\xed\xa0\x80"}'), 400, "invalid-json"),
        ("new line in a comment", say(b'{"comment":"a\n{}\nb"}'), 400, "invalid-json"),
    )
]
_UNEXPECTED = [
    Hostile(f"Expect {given[:20]!r}", ask(Expect=given), 400, "bad-request")
    for given in ("tea", "100-continue, tea", "x" * 8000)
]
HOSTILE = [
    *_NO_HTTP,
    *_TOO_LONG,
    *_NO_CODING,
    *_NO_BODY,
    *_NO_JSON,
    *_NO_ROW,
    *_TOO_LARGE,
    *_NO_MEDIA_TYPE,
    *_NOWHERE,
    *_NO_FEEDBACK,
    *_UNEXPECTED,
]

_COMMENTS = (
    'a "quoted"\\ one',
    'a\nb\r\nc"}]}\n{"resourceLogs":[]}\n',
    "\x00\x01\x08\x1b[2J\x1b]0;owned\x07",
    "\x7f\x85\x9b31m",
    "\u2028\u2029\u202e\ufeff\uffff",
    "\U0001f600\U0010ffff",
    "%s %b %(x)s {0} ${x} $(x)",
    '18446744073709551616"',
)

WAYS = ("application/json", "Application/JSON")
"""Content types that mean the same; the plain one is what nearly all send."""
GOOD = [Taken("good", ask(Content_Type=way)) for way in WAYS]
POISONED = [
    *(
        Taken(f"{header.replace('_', '-')} {value[:24]!r}", ask(Content_Type=way, **{header: value}))
        for way in WAYS
        for header, value in (
            *(
                ("X_Request_Id", value)
                for value in ("", "a b", "x" * 8000, '"}]}', "%b%s", "\udcff", "\udced\udca0\udc80", "٣", "a\u2028b")
            ),
            *(
                ("User_Agent", value)
                for value in ('"}\\', "\udcff", "\udced\udca0\udc80", "\x85\x9b31m", "x" * 8000, "9" * 30, "a\u2028b")
            ),
            *(("Host", value) for value in ("[", "a b", "\udcff", "[::1]:99999999999999999999", "x" * 8000, "")),
            *(("X_Forwarded_For", value) for value in ("\udcff", "1.2.3.4, " * 800)),
            *(
                ("traceparent", value)
                for value in (
                    "",
                    "nonsense",
                    "\udcff",
                    "00-" + "f" * 8000,
                    f"ff-{TRACE}-b7ad6b7169203331-01",
                    f"00-{'0' * 32}-{'0' * 16}-00",
                    f"00-{TRACE.upper()}-B7AD6B7169203331-01",
                    f"00-{TRACE}-b7ad6b7169203331-zz",
                    f"00-٣{TRACE[1:]}-b7ad6b7169203331-01",
                    f"{_PARENT}-\udcff",
                    f"{_PARENT},{_PARENT}",
                    "99999999999999999999-" * 100,
                )
            ),
        )
    ),
    *(
        Taken(f"{header} {value[:24]!r}", ask(Content_Type=way, traceparent=_PARENT, **{header: value}))
        for way in WAYS
        for header in ("tracestate", "baggage")
        for value in ("\udcff=1", "=,=,=", "a=b," * 2000, ",".join(f"k{n}=v" for n in range(700)), "a=" + "x" * 8000)
    ),
    *(
        Taken(f"comment {comment[:24]!r}", say(json.dumps({"comment": comment}).encode()), comment)
        for comment in _COMMENTS
    ),
    Taken("value beyond float32", say(b'{"value":-1.7976931348623157e308}')),
    Taken("value that is hardly one", say(b'{"value":5e-324,"index":2147483647}')),
    Taken("numbers of more than 64 bits", ask(b'{"data":[[18446744073709551616,-9223372036854775809,-0,0e0]]}')),
    Taken("number of 10^6 decimals", ask(b'{"data":[[0.' + b"1" * 1_000_000 + b",2,3,4]]}")),
]

HALF_BODIES = (ask(Content_Length="1000"), chunked(b"400\r\n" + BODY[:9]))
HALF = (b"", b"POST /pre", b"POST /predict HTTP/1.1\r\nHost: test\r\nX-Slow: y", *HALF_BODIES)
