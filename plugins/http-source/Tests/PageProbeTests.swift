import DataflowColumnar
import DataflowHTTP
import Testing

@testable import HTTPSource

@Suite struct PageProbeTests {
    private func probe(_ body: String, items: String? = nil, total: String? = nil, cursor: String? = nil) throws
        -> PageFacts
    {
        let paths = BodyPaths(
            items: try items.map { try BodyPath($0) }, total: try total.map { try BodyPath($0) },
            cursor: try cursor.map { try BodyPath($0) })
        let probe = try #require(PageProbe(paths, maxBodyBytes: 1 << 20))
        return try probe.facts(of: Buffer(Array(body.utf8)))
    }

    @Test func `the facts are found among other values, nested and last`() throws {
        let body =
            #"{"a":[1,2.5,{"b":[]},"x"],"n":18446744073709551615,"rows":[[1],[2,3],{}],"meta":{"t":{"v":[7,42]}},"next":"ü\"c"}"#
        let facts = try probe(body, items: "$.rows", total: "$.meta.t.v[1]", cursor: "$.next")
        #expect(facts == PageFacts(items: 3, total: 42, cursor: "ü\"c"))
    }

    @Test func `the document itself can be the list`() throws {
        #expect(try probe("[1,2,3]", items: "$").items == 3)
        #expect(try probe("[]", items: "$").items == 0)
        #expect(try probe("[{\"rows\":[1]}]", items: "$[0].rows").items == 1)
    }

    @Test func `a total may be text, and may be missing where items finds the end`() throws {
        #expect(try probe(#"{"rows":[],"count":"2701"}"#, items: "$.rows", total: "$.count").total == 2701)
        #expect(try probe(#"{"rows":[],"count":27.0}"#, items: "$.rows", total: "$.count").total == 27)
        #expect(try probe(#"{"rows":[]}"#, items: "$.rows", total: "$.count").total == nil)
        #expect(throws: PageProblem.self) { try probe("{}", total: "$.count") }
        #expect(throws: PageProblem.self) { try probe(#"{"count":-1}"#, total: "$.count") }
    }

    @Test func `a cursor may be a number, and null or nothing ends`() throws {
        #expect(try probe(#"{"c":12}"#, cursor: "$.c").cursor == "12")
        #expect(try probe(#"{"c":null}"#, cursor: "$.c").cursor == nil)
        #expect(try probe("{}", cursor: "$.c").cursor == nil)
        #expect(throws: PageProblem.self) { try probe(#"{"c":{}}"#, cursor: "$.c") }
    }

    @Test(arguments: ["{}", #"{"rows":null}"#, #"{"rows":{}}"#, #"{"error":"x"}"#, "null", "3"])
    func `a page without its list has failed`(_ body: String) {
        #expect {
            try probe(body, items: "$.rows")
        } throws: {
            guard case PageProblem.missing = $0 else { return false }
            return true
        }
    }

    @Test(arguments: ["", "<html><body>503</body></html>", #"{"rows":[1,2"#, "{} {}"])
    func `a body that is not JSON has failed`(_ body: String) {
        #expect {
            try probe(body, items: "$.rows")
        } throws: {
            guard case PageProblem.notJSON = $0 else { return false }
            return true
        }
    }

    @Test func `an excerpt is one line`() {
        #expect(PageProbe.excerpt(Buffer(Array("a\nb\u{1b}c".utf8))) == "\"a b c\"")
        #expect(PageProbe.excerpt(Buffer(Array("abcdef".utf8)), maxBytes: 3) == "\"abc…\"")
    }
}

@Suite struct PageURLTests {
    private let pages = PageURL(
        base: "https://api.example/rows?x=1", query: [URLParameter("dataset", "a/b c&d")],
        secretQuery: [URLParameter("who", "me&you")])

    @Test func `parameters are encoded and added to a query that is there`() {
        let request = Paginator.Request(position: .offset(5), parameters: [URLParameter("offset", "5")])
        #expect(pages.url(request) == "https://api.example/rows?x=1&dataset=a%2Fb%20c%26d&who=me%26you&offset=5")
        #expect(PageURL.adding([URLParameter("a", "ü")], to: "http://x/y#z") == "http://x/y?a=%C3%BC")
        #expect(pages.url(.init(position: .link("http://x/2"))) == "http://x/2")
    }

    @Test(arguments: [
        ("https://x/r?who=abc&offset=1", "https://x/r?who=***&offset=1"),
        ("https://x/r?api_key=1&ACCESS_TOKEN=2&z=3", "https://x/r?api_key=***&ACCESS_TOKEN=***&z=3"),
        ("https://u:p@x/r", "https://***@x/r"), ("https://x/a@b", "https://x/a@b"),
        ("https://x/r?X-Amz-Signature=1", "https://x/r?X-Amz-Signature=***"),
    ]) func `secrets are not shown`(_ url: String, _ shown: String) {
        #expect(pages.redacted(url) == shown)
    }

    @Test func `references are resolved as RFC 3986 says`() throws {
        let base = try #require(URLHandle("https://api.example:8443/v1/items?page=1"))
        #expect(base.resolving("?page=2") == "https://api.example:8443/v1/items?page=2")
        #expect(base.resolving("/v2/items") == "https://api.example:8443/v2/items")
        #expect(base.resolving("//other/x") == "https://other/x")
        #expect(base.resolving("http://other/x#frag") == "http://other/x")
        #expect(base.resolving("ftp://other/x") == nil)
        #expect(base.origin == "https://api.example:8443")
        #expect(URLHandle("https://A.example/")?.origin == "https://a.example:443")
        #expect(URLHandle("nonsense") == nil)
        #expect(URLHandle("file:///etc/passwd") == nil)
    }
}

@Suite struct HTTPHeadersTests {
    @Test func `names compare without case and a new status line begins anew`() {
        var headers = HTTPHeaders()
        for line in [
            "HTTP/1.1 100 Continue\r\n", "X: 1\r\n", "\r\n", "HTTP/1.1 200 OK\r\n", "ETag:  \"a\" \r\n",
            "Link: <a>\r\n", "link: <b>\r\n",
        ] {
            headers.receive(line)
        }
        #expect(headers["etag"] == "\"a\"")
        #expect(headers["x"] == nil)
        #expect(headers.all("Link") == ["<a>", "<b>"])
    }
}
