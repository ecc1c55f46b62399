/// Which page comes next, and when there is none: the pure part of pagination.
///
/// ``position`` is the position behind the last page that was taken; it is what a checkpoint keeps.
struct Paginator: Sendable, Equatable {
    /// Where a page is.
    enum Position: Sendable, Hashable {
        /// The URL as configured: the first page of a cursor or link, or the one document.
        case start
        case offset(Int64)
        case page(Int64)
        case cursor(String)
        /// An absolute URL.
        case link(String)
    }

    /// A page to ask for.
    struct Request: Sendable, Equatable {
        var position: Position
        /// Parameters to add to the URL.
        var parameters: [URLParameter] = []
    }

    /// Why there is no further page.
    enum End: String, Sendable, CaseIterable {
        case until
        case emptyPage = "empty page"
        case total
        case lastPage = "last page"
    }

    /// What to do with a page that has been taken.
    enum Turn: Sendable, Equatable {
        /// It has content.
        case emit
        /// It lies past the end and is empty.
        case skip
    }

    let pagination: Pagination
    private(set) var position: Position
    private(set) var end: End?
    /// Pages taken since the very first start.
    private(set) var pageCount: Int64
    /// The last total that a page named.
    private(set) var total: Int64?
    /// True until the first page after an end: the request may meet nothing at all.
    private(set) var isBeyondEnd: Bool

    /// At the first page.
    init(_ pagination: Pagination) {
        self.pagination = pagination
        position = Paginator.first(pagination)
        pageCount = 0
        isBeyondEnd = false
        end = Paginator.endByUntil(pagination, position)
    }

    /// At a position from a checkpoint. A numbered pagination that had ended looks once more, because `until` may have
    /// been raised and rows may have been added; the others stay ended.
    init(_ pagination: Pagination, restoring position: Position, end: End?, pageCount: Int64) {
        self.pagination = pagination
        self.position = position
        self.pageCount = pageCount
        isBeyondEnd = end != nil
        self.end = pagination.isNumbered ? Paginator.endByUntil(pagination, position) : end
    }

    /// Whether a position belongs to this kind of pagination.
    static func accepts(_ position: Position, _ pagination: Pagination) -> Bool {
        switch (pagination, position) {
        case (.offset, .offset), (.page, .page): true
        case (.cursor, .cursor), (.cursor, .start), (.nextLink, .link), (.nextLink, .start), (.none, .start): true
        default: false
        }
    }

    /// The page that is `ahead` pages behind the next one, as far as it can be known now; nil when there is none.
    func request(ahead: Int = 0) -> Request? {
        guard end == nil else { return nil }
        switch (pagination, position) {
        case (.offset(let it), .offset(let offset)):
            let (distance, overflow) = Int64(ahead).multipliedReportingOverflow(by: it.limit)
            let (target, overflow2) = offset.addingReportingOverflow(distance)
            guard !overflow, !overflow2 else { return nil }
            if let until = it.until, target >= until { return nil }
            if ahead > 0, let total, target >= total { return nil }
            var parameters = [URLParameter(it.param, String(target))]
            if let limitParam = it.limitParam {
                let rest = it.until.map { $0 - target } ?? it.limit
                parameters.append(URLParameter(limitParam, String(min(it.limit, rest))))
            }
            return Request(position: .offset(target), parameters: parameters)
        case (.page(let it), .page(let page)):
            let (target, overflow) = page.addingReportingOverflow(Int64(ahead))
            guard !overflow else { return nil }
            if let until = it.until, target > until { return nil }
            if ahead > 0, let total, target - it.start >= total { return nil }
            var parameters = [URLParameter(it.param, String(target))]
            if let sizeParam = it.sizeParam { parameters.append(URLParameter(sizeParam, String(it.size))) }
            return Request(position: .page(target), parameters: parameters)
        case (.cursor(let it), .cursor(let cursor)):
            guard ahead == 0 else { return nil }
            return Request(position: position, parameters: [URLParameter(it.param, cursor)])
        default:
            return ahead == 0 ? Request(position: position) : nil
        }
    }

    /// Takes the next page, which said `facts`; moves ``position`` behind it.
    ///
    /// - Throws: ``PageProblem`` when the page leads nowhere (a cursor that names itself).
    mutating func advance(_ facts: PageFacts) throws(PageProblem) -> Turn {
        precondition(end == nil, "a page was taken after the end (\(end?.rawValue ?? ""))")
        let turn: Turn
        switch (pagination, position) {
        case (.offset(let it), .offset(let offset)): turn = takeOffset(it, offset, facts)
        case (.page(let it), .page(let page)): turn = takePage(it, page, facts)
        case (.cursor, _):
            turn = try follow(facts, facts.cursor.flatMap { $0.isEmpty ? nil : Position.cursor($0) })
        case (.nextLink, _):
            turn = try follow(facts, facts.nextLink.flatMap { $0.isEmpty ? nil : Position.link($0) })
        default:
            end = .lastPage
            turn = .emit
        }
        isBeyondEnd = false
        if turn == .emit { pageCount += 1 }
        return turn
    }

    /// The answer said that there is nothing at the position: the end.
    mutating func meetEnd() {
        end = .emptyPage
        isBeyondEnd = false
    }

    /// Begins another round of a polled source: a numbered pagination goes on where it ended, the others start anew.
    mutating func beginRound() {
        guard end != nil else { return }
        isBeyondEnd = pagination.isNumbered
        if !pagination.isNumbered { position = .start }
        end = Paginator.endByUntil(pagination, position)
    }

    private mutating func takeOffset(_ it: OffsetPagination, _ offset: Int64, _ facts: PageFacts) -> Turn {
        total = facts.total ?? total
        if facts.items == 0 {
            end = .emptyPage
            return .skip
        }
        // By what came, not by what was asked: a server that caps the limit must not make rows disappear.
        let next = offset.saturatingAdd(facts.items ?? it.limit)
        position = .offset(next)
        end = Paginator.endByUntil(pagination, position)
        if end == nil, let total = facts.total, next >= total { end = .total }
        return .emit
    }

    private mutating func takePage(_ it: PagePagination, _ page: Int64, _ facts: PageFacts) -> Turn {
        let pages = facts.totalPages ?? facts.total.map { ($0 + it.size - 1) / it.size }
        total = pages ?? total
        if facts.items == 0 {
            end = .emptyPage
            return .skip
        }
        let next = page.saturatingAdd(1)
        position = .page(next)
        end = Paginator.endByUntil(pagination, position)
        if end == nil, let pages, next - it.start >= pages { end = .total }
        return .emit
    }

    private mutating func follow(_ facts: PageFacts, _ next: Position?) throws(PageProblem) -> Turn {
        if facts.items == 0 {
            end = .emptyPage
            return .skip
        }
        guard let next else {
            end = .lastPage
            return .emit
        }
        guard next != position else { throw PageProblem.repeatsItself }
        position = next
        return .emit
    }

    private static func first(_ pagination: Pagination) -> Position {
        switch pagination {
        case .offset(let it): .offset(it.start)
        case .page(let it): .page(it.start)
        case .none, .cursor, .nextLink: .start
        }
    }

    private static func endByUntil(_ pagination: Pagination, _ position: Position) -> End? {
        switch (pagination, position) {
        case (.offset(let it), .offset(let offset)): it.until.map { offset >= $0 } == true ? .until : nil
        case (.page(let it), .page(let page)): it.until.map { page > $0 } == true ? .until : nil
        default: nil
        }
    }
}

/// A parameter of a URL, not yet percent-encoded.
struct URLParameter: Sendable, Equatable {
    var name: String
    var value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

extension Int64 {
    fileprivate func saturatingAdd(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
