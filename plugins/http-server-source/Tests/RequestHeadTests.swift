@testable import HTTPServerSource
import Testing

private func parse(_ text: String) throws -> RequestHead {
    try Array(text.utf8).withUnsafeBytes { try RequestHead($0) }
}

@Suite struct RequestHeadTests {
    @Test func `a head is read with its names in lower case and its values trimmed`() throws {
        let head = try parse(
            "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nX-Y:  z \t\r\nEmpty:\r\nExpect: 100-Continue\r\n\r\n"
        )
        #expect(head.method == "POST")
        #expect(head.path == "/a/b")
        #expect(head["x-y"] == "z")
        #expect(head["empty"] == "")
        #expect(head.framing == .length(12))
        #expect(head.keepsAlive)
        #expect(head.expectsContinue)
    }

    @Test func `a connection is kept or not as version and header say`() throws {
        #expect(try !parse("GET / HTTP/1.0\r\n\r\n").keepsAlive)
        #expect(try parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keepsAlive)
        #expect(try !parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, close\r\n\r\n").keepsAlive)
        #expect(
            try parse("POST http://x:1/p?q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n").framing
                == .chunked)
        #expect(try parse("POST http://x:1/p?q HTTP/1.1\r\nHost: x\r\n\r\n").path == "/p")
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /\u{1} HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/2\r\nHost: x\r\n\r\n", 505),
        ("GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: \u{0}\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n", 417),
    ])
    func `a head that two servers could read differently is refused`(_ text: String, _ status: Int) {
        #expect { _ = try parse(text) } throws: { ($0 as? RequestProblem)?.status == status }
    }
}

@Suite struct BodyDecoderTests {
    private func decode(_ framing: RequestHead.Framing, _ text: String, pieces: Int) throws -> (body: String, rest: Int)
    {
        var decoder = BodyDecoder(framing)
        var body: [UInt8] = []
        let bytes = Array(text.utf8)
        var taken = 0
        for start in stride(from: 0, to: bytes.count, by: pieces) where !decoder.isDone {
            let piece = Array(bytes[start..<min(start + pieces, bytes.count)])
            taken += try piece.withUnsafeBytes { try decoder.take($0) { body.append(contentsOf: $0) } }
        }
        try #require(decoder.isDone)
        return (String(decoding: body, as: UTF8.self), bytes.count - taken)
    }

    @Test(arguments: [1, 2, 3, 7, 100])
    func `a body ends where it says, however it comes`(_ pieces: Int) throws {
        #expect(try decode(.length(5), "hello", pieces: pieces) == ("hello", 0))
        let chunked = "5\r\nhello\r\n00001;x=\"y\"\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET"
        let result = try decode(.chunked, chunked, pieces: pieces)
        #expect(result.body == "hello 0123456789")
        if pieces == 100 { #expect(result.rest == 3) }
        #expect(BodyDecoder(.length(0)).isDone)
    }

    @Test(arguments: ["x\r\n", "\r\n", "-1\r\n", "+1\r\n", "123456789\r\n", "1\nab", "1\r\nab\r\n", "1\r\na\n"])
    func `chunks that do not add up are refused`(_ text: String) {
        #expect { _ = try decode(.chunked, text, pieces: 100) } throws: { ($0 as? RequestProblem)?.status == 400 }
    }
}

@Suite struct JSONFaultTests {
    private func offset(_ text: String) -> Int? { Array(text.utf8).withUnsafeBytes { JSONFault.offset(in: $0) } }

    @Test(arguments: [
        #"{"a":[1,-2.5e+3,true,false,null,"x\n\u00e9",{}],"b":{"c":[]}}"#, " 1 ", #""""#, "[[],[[]]]", "-0", "0.1E-5",
    ])
    func `JSON has no fault`(_ text: String) { #expect(offset(text) == nil) }

    @Test(arguments: [
        ("", 0), ("{", 1), (#"{"a":1,}"#, 7), (#"{"a" 1}"#, 5), ("[1 2]", 3), ("[1,]", 3), ("tru", 3), ("trux", 3),
        (#""a"#, 2), ("01", 1), ("1.", 2), ("1e", 2), (#""\x""#, 2), (#""\u12g4""#, 5), ("[1]]", 3), ("{1:2}", 1),
        ("[\"a\nb\"]", 3), ("nul", 3), ("-", 1),
    ])
    func `a fault is where the text stops being JSON`(_ text: String, _ place: Int) { #expect(offset(text) == place) }
}
