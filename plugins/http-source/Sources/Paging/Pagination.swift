/// How an API is read page by page. Without it the URL is one document.
enum Pagination: Sendable, Equatable {
    case none
    case offset(OffsetPagination)
    case page(PagePagination)
    case cursor(CursorPagination)
    case nextLink(NextLinkPagination)

    /// The word of the pipeline file; it stands in the checkpoint.
    var kind: String {
        switch self {
        case .none: "none"
        case .offset: "offset"
        case .page: "page"
        case .cursor: "cursor"
        case .nextLink: "next_link"
        }
    }

    /// Where things stand in the body.
    var paths: BodyPaths {
        switch self {
        case .none: BodyPaths()
        case .offset(let it): BodyPaths(items: it.items, total: it.total)
        case .page(let it): BodyPaths(items: it.items, total: it.total, totalPages: it.totalPages)
        case .cursor(let it): BodyPaths(items: it.items, cursor: it.path)
        case .nextLink(let it): BodyPaths(items: it.items, nextLink: it.path)
        }
    }

    /// True where the next page is known before the page before has been read.
    var isNumbered: Bool {
        switch self {
        case .offset, .page: true
        case .none, .cursor, .nextLink: false
        }
    }
}

/// `?offset=200&length=100`: rows are counted.
struct OffsetPagination: Sendable, Equatable {
    var param: String
    var limitParam: String?
    /// Rows a page.
    var limit: Int64 = 100
    /// The first offset.
    var start: Int64 = 0
    /// The offset to stop at, exclusive.
    var until: Int64?
    var items: BodyPath?
    var total: BodyPath?
}

/// `?page=3&page_size=24`: pages are counted.
struct PagePagination: Sendable, Equatable {
    var param: String
    var sizeParam: String?
    /// Rows a page.
    var size: Int64 = 100
    /// The number of the first page.
    var start: Int64 = 1
    /// The last page to read.
    var until: Int64?
    var items: BodyPath?
    /// The number of rows in all.
    var total: BodyPath?
    /// The number of pages in all.
    var totalPages: BodyPath?
}

/// The body of a page names the cursor of the next one; the last page has none.
struct CursorPagination: Sendable, Equatable {
    var param: String
    var path: BodyPath
    var items: BodyPath?
}

/// The `Link` header (`rel="next"`), or a place in the body, has the URL of the next page; the last page has none.
struct NextLinkPagination: Sendable, Equatable {
    /// Nil: the `Link` header.
    var path: BodyPath?
    var items: BodyPath?
}

/// What to look up in each body.
struct BodyPaths: Sendable, Equatable {
    var items: BodyPath?
    var total: BodyPath?
    var totalPages: BodyPath?
    var cursor: BodyPath?
    var nextLink: BodyPath?

    /// True when the body must be JSON.
    var needsBody: Bool { items != nil || total != nil || totalPages != nil || cursor != nil || nextLink != nil }
}

/// What a page says about itself.
struct PageFacts: Sendable, Equatable {
    /// Elements of the list at `items`; nil where no path was given.
    var items: Int64?
    var total: Int64?
    var totalPages: Int64?
    var cursor: String?
    /// As it stands in the answer: absolute or relative.
    var nextLink: String?
}
