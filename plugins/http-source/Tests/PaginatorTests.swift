import Testing

@testable import HTTPSource

private func path(_ text: String) throws -> BodyPath { try BodyPath(text) }

/// What a fake API answers.
private func facts(
    items: Int64? = nil, total: Int64? = nil, pages: Int64? = nil, cursor: String? = nil, link: String? = nil
)
    -> PageFacts
{
    PageFacts(items: items, total: total, totalPages: pages, cursor: cursor, nextLink: link)
}

@Suite struct PaginatorTests {
    private var offset: OffsetPagination {
        OffsetPagination(param: "offset", limitParam: "length", limit: 100)
    }

    @Test func `offsets rise by the rows that came and stop at until, exclusive`() throws {
        var it = offset
        it.until = 250
        var paginator = Paginator(.offset(it))
        #expect(paginator.request()?.parameters == [URLParameter("offset", "0"), URLParameter("length", "100")])
        #expect(try paginator.advance(facts(items: 100)) == .emit)
        #expect(try paginator.advance(facts(items: 100)) == .emit)
        #expect(paginator.request()?.parameters == [URLParameter("offset", "200"), URLParameter("length", "50")])
        #expect(try paginator.advance(facts(items: 50)) == .emit)
        #expect(paginator.end == .until)
        #expect(paginator.request() == nil)
        #expect(paginator.position == .offset(250))
    }

    @Test func `a server that caps the limit makes no rows disappear`() throws {
        var paginator = Paginator(.offset(offset))
        _ = try paginator.advance(facts(items: 30))
        #expect(paginator.position == .offset(30))
    }

    @Test func `an empty list ends the run without a row and keeps the position`() throws {
        var paginator = Paginator(.offset(offset))
        _ = try paginator.advance(facts(items: 100))
        #expect(try paginator.advance(facts(items: 0)) == .skip)
        #expect(paginator.end == .emptyPage)
        #expect(paginator.position == .offset(100))
        #expect(paginator.pageCount == 1)
    }

    @Test func `the total ends the run, the latest one counts`() throws {
        var paginator = Paginator(.offset(offset))
        _ = try paginator.advance(facts(items: 100, total: 500))
        #expect(paginator.end == nil)
        _ = try paginator.advance(facts(items: 100, total: 200))
        #expect(paginator.end == .total)
    }

    @Test func `pages ahead are known as far as until and the total go`() throws {
        var it = offset
        it.until = 400
        var paginator = Paginator(.offset(it))
        #expect(paginator.request(ahead: 3)?.position == .offset(300))
        #expect(paginator.request(ahead: 4) == nil)
        _ = try paginator.advance(facts(items: 100, total: 201))
        #expect(paginator.request(ahead: 1)?.position == .offset(200))
        #expect(paginator.request(ahead: 2) == nil)
    }

    @Test func `a finished run goes on when until is raised`() {
        var it = offset
        it.until = 100
        #expect(Paginator(.offset(it), restoring: .offset(100), end: .until, pageCount: 1).end == .until)
        it.until = 200
        let resumed = Paginator(.offset(it), restoring: .offset(100), end: .until, pageCount: 1)
        #expect(resumed.end == nil)
        #expect(resumed.request()?.position == .offset(100))
        #expect(resumed.isBeyondEnd)
    }

    @Test func `offsets near the largest integer do not overflow`() throws {
        var it = offset
        it.start = .max - 50
        var paginator = Paginator(.offset(it))
        #expect(paginator.request(ahead: 1) == nil)
        _ = try paginator.advance(facts())
        #expect(paginator.position == .offset(.max))
    }

    @Test func `page numbers rise by one and stop at until, inclusive`() throws {
        var paginator = Paginator(.page(PagePagination(param: "page", sizeParam: "size", size: 24, until: 2)))
        #expect(paginator.request()?.parameters == [URLParameter("page", "1"), URLParameter("size", "24")])
        _ = try paginator.advance(facts(items: 24))
        _ = try paginator.advance(facts(items: 3))
        #expect(paginator.end == .until)
    }

    @Test func `page numbers stop at the number of pages and at the number of rows`() throws {
        let it = PagePagination(param: "page", size: 24, start: 0)
        var byPages = Paginator(.page(it))
        _ = try byPages.advance(facts(pages: 2))
        #expect(byPages.end == nil)
        _ = try byPages.advance(facts(pages: 2))
        #expect(byPages.end == .total)
        var byRows = Paginator(.page(it))
        _ = try byRows.advance(facts(total: 25))
        #expect(byRows.end == nil)
        _ = try byRows.advance(facts(total: 25))
        #expect(byRows.end == .total)
    }

    @Test func `cursors are followed until there is none`() throws {
        var paginator = Paginator(.cursor(CursorPagination(param: "after", path: try path("$.next"))))
        #expect(paginator.request()?.parameters == [])
        _ = try paginator.advance(facts(cursor: "a"))
        #expect(paginator.request()?.parameters == [URLParameter("after", "a")])
        #expect(paginator.request(ahead: 1) == nil)
        _ = try paginator.advance(facts(cursor: ""))
        #expect(paginator.end == .lastPage)
        #expect(paginator.pageCount == 2)
    }

    @Test func `a cursor that names itself is an error and no endless loop`() throws {
        var paginator = Paginator(.cursor(CursorPagination(param: "after", path: try path("$.next"))))
        _ = try paginator.advance(facts(cursor: "a"))
        #expect(throws: PageProblem.repeatsItself) { try paginator.advance(facts(cursor: "a")) }
    }

    @Test func `links are followed until there is none, and a finished run stays finished`() throws {
        var paginator = Paginator(.nextLink(NextLinkPagination()))
        _ = try paginator.advance(facts(link: "http://x/2"))
        #expect(paginator.position == .link("http://x/2"))
        _ = try paginator.advance(facts())
        #expect(paginator.end == .lastPage)
        let again = Paginator(
            .nextLink(NextLinkPagination()), restoring: paginator.position, end: paginator.end, pageCount: 2)
        #expect(again.end == .lastPage)
    }

    @Test func `another round goes on behind the end or begins anew`() throws {
        var numbered = Paginator(.offset(offset))
        _ = try numbered.advance(facts(items: 10))
        _ = try numbered.advance(facts(items: 0))
        numbered.beginRound()
        #expect(numbered.position == .offset(10))
        #expect(numbered.end == nil)
        var document = Paginator(.none)
        _ = try document.advance(facts())
        #expect(document.end == .lastPage)
        document.beginRound()
        #expect(document.position == .start)
        #expect(document.end == nil)
    }

    @Test func `a position belongs to its kind of pagination`() throws {
        #expect(Paginator.accepts(.offset(1), .offset(offset)))
        #expect(!Paginator.accepts(.page(1), .offset(offset)))
        #expect(!Paginator.accepts(.start, .offset(offset)))
        #expect(Paginator.accepts(.start, .none))
    }
}

@Suite struct BodyPathTests {
    @Test func `members and elements are read`() throws {
        #expect(try path("$").steps == [])
        #expect(try path("$.a.b").steps == [.member("a"), .member("b")])
        #expect(
            try path("$.a[2]['x.y'][\"z\"]").steps
                == [.element(2)].inserting(.member("a"), .member("x.y"), .member("z")))
    }

    @Test(arguments: ["", "rows", "$rows", "$.", "$.a[", "$.a[x]", "$.a[-1]", "$.a[*]", "$.*", "$['a", "$['a'"])
    func `a text that is no path is refused`(_ text: String) {
        #expect(throws: BodyPath.SyntaxError.self) { try BodyPath(text) }
    }
}

extension [BodyPath.Step] {
    fileprivate func inserting(_ first: Element, _ rest: Element...) -> [Element] { [first] + self + rest }
}

@Suite struct LinkHeaderTests {
    @Test(arguments: [
        ("<https://x/2>; rel=\"next\"", "https://x/2"),
        ("<https://x/9>; rel=\"last\", <https://x/2>; rel=\"next\"", "https://x/2"),
        ("<?page=2>;rel=next", "?page=2"),
        ("<a>; title=\"x, y; rel=next\"; rel=\"prev\", <b>; rel=\"foo NEXT\"", "b"),
        ("<a,b>; rel=next", "a,b"),
    ]) func `the next link is found`(_ header: String, _ expected: String) {
        #expect(LinkHeader.target("next", in: [header]) == expected)
    }

    @Test(arguments: ["", "garbage", "<a>; rel=prev", "<a", "<a>; title=next"])
    func `without a next link there is none`(_ header: String) {
        #expect(LinkHeader.target("next", in: [header]) == nil)
    }

    @Test func `the header may stand several times`() {
        #expect(LinkHeader.target("next", in: ["<a>; rel=prev", "<b>; rel=next"]) == "b")
    }
}
