public import DataflowConfig

/// `paginate: { offset: … }`, `{ page: … }`, `{ cursor: … }` or `{ next_link: … }`.
public struct PaginateConfig: OperatorConfig {
    public var offset: OffsetConfig?
    public var page: PageConfig?
    public var cursor: CursorConfig?
    public var nextLink: NextLinkConfig?
    public var endStatuses: [StatusWord] = []

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.exactlyOne(of: "offset", "page", "cursor", "next_link")]) {
        ConfigField("offset", \.offset, "Rows are counted: `?offset=200&length=100`.")
        ConfigField("page", \.page, "Pages are counted: `?page=3&page_size=24`.")
        ConfigField("cursor", \.cursor, "Each page names the cursor of the next; the last one has none.")
        ConfigField("next_link", \.nextLink, "Each page has the URL of the next, in the `Link` header or in its body.")
        ConfigField(
            "end_statuses", \.endStatuses, .advanced,
            "Statuses that say that there is no such page, so that the one before was the last; for `offset` and `page`."
        )
    }
}

/// Counts rows.
public struct OffsetConfig: OperatorConfig {
    public var param = "offset"
    public var limitParam: String?
    public var limit = 100
    public var start = 0
    public var until: Int?
    public var items: BodyPathSetting?
    public var total: BodyPathSetting?

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.atLeastOne(of: "until", "items", "total")]) {
        ConfigField("param", \.param, "The parameter that carries the offset.")
        ConfigField("limit_param", \.limitParam, "The parameter that carries `limit`, if the API takes one.")
        ConfigField("limit", \.limit, "Rows a page.", check: { $0 < 1 ? "must be at least 1" : nil })
        ConfigField("start", \.start, "The first offset.", check: { $0 < 0 ? "must not be negative" : nil })
        ConfigField("until", \.until, "The offset to stop at, exclusive. Raise it and start again to read on.")
        ConfigField(
            "items", \.items,
            "Where the list of rows is in the body. Ends at an empty one; a page without it has failed and is tried again.",
            examples: [BodyPathSetting("$.rows")])
        ConfigField("total", \.total, "Where the number of all rows is in the body; ends there.")
    }
}

/// Counts pages.
public struct PageConfig: OperatorConfig {
    public var param = "page"
    public var sizeParam: String?
    public var size = 100
    public var start = 1
    public var until: Int?
    public var items: BodyPathSetting?
    public var total: BodyPathSetting?
    public var totalPages: BodyPathSetting?

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.atLeastOne(of: "until", "items", "total", "total_pages")]) {
        ConfigField("param", \.param, "The parameter that carries the page's number.")
        ConfigField("size_param", \.sizeParam, "The parameter that carries `size`, if the API takes one.")
        ConfigField("size", \.size, "Rows a page.", check: { $0 < 1 ? "must be at least 1" : nil })
        ConfigField("start", \.start, "The number of the first page.", check: { $0 < 0 ? "must not be negative" : nil })
        ConfigField("until", \.until, "The last page to read.")
        ConfigField(
            "items", \.items,
            "Where the list of rows is in the body. Ends at an empty one; a page without it has failed and is tried again."
        )
        ConfigField("total", \.total, "Where the number of all rows is in the body; ends behind `total / size` pages.")
        ConfigField("total_pages", \.totalPages, "Where the number of all pages is in the body; ends there.")
    }
}

/// Follows cursors.
public struct CursorConfig: OperatorConfig {
    public var param = "cursor"
    public var path = BodyPathSetting("$.next_cursor")
    public var items: BodyPathSetting?

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("param", \.param, "The parameter that carries the cursor; the first request has none.")
        ConfigField(
            "path", \.path, .required, "Where the next cursor is in the body. Ends where it is missing, null or empty.")
        ConfigField("items", \.items, "Where the list of rows is in the body. Ends at an empty one.")
    }
}

/// Follows links.
public struct NextLinkConfig: OperatorConfig {
    public var path: BodyPathSetting?
    public var items: BodyPathSetting?

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "path", \.path,
            "Where the URL of the next page is in the body. Without it, the `Link` header with `rel=\"next\"` is used.")
        ConfigField("items", \.items, "Where the list of rows is in the body. Ends at an empty one.")
    }
}

/// A place in a JSON body, checked when it is read.
public struct BodyPathSetting: ConfigValue, Hashable {
    let path: BodyPath

    /// For defaults and examples; traps on a text that is no path.
    init(_ text: String) {
        do throws(BodyPath.SyntaxError) { path = try BodyPath(text) } catch {
            preconditionFailure("\(text) is not a path: \(error.message)")
        }
    }

    public static var typeName: String { "path in the body" }
    public static var jsonSchema: JSONSchema { .scalar("string") }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let text = try node.scalarText(expected: "a path such as `$.rows`")
        do throws(BodyPath.SyntaxError) { path = try BodyPath(text) } catch {
            throw .expected("a path such as `$.rows`", found: node, hint: error.message)
        }
    }

    public var encoded: ConfigNode { .text(path.text) }
}

/// A status or a hundred of them: `429`, `5xx`.
public struct StatusWord: ConfigValue, Hashable, ExpressibleByStringLiteral {
    let member: StatusSet.Member

    /// For defaults; traps on a text that is neither.
    public init(stringLiteral text: String) {
        guard let member = StatusSet.member(text) else { preconditionFailure("\(text) is not a status") }
        self.member = member
    }

    public static var typeName: String { "status" }
    public static var jsonSchema: JSONSchema { JSONSchema(["type": ["string", "integer"]]) }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let expected = "a status such as `429` or `5xx`"
        guard let member = StatusSet.member(try node.scalarText(expected: expected)) else {
            throw .expected(expected, found: node)
        }
        self.member = member
    }

    public var encoded: ConfigNode { .text(StatusSet([member]).description) }
}

extension HTTPSourceConfig {
    /// As the fetcher takes it.
    var pagination: Pagination {
        guard let paginate else { return .none }
        if let it = paginate.offset {
            return .offset(
                OffsetPagination(
                    param: it.param, limitParam: it.limitParam, limit: Int64(it.limit), start: Int64(it.start),
                    until: it.until.map(Int64.init), items: it.items?.path, total: it.total?.path))
        }
        if let it = paginate.page {
            return .page(
                PagePagination(
                    param: it.param, sizeParam: it.sizeParam, size: Int64(it.size), start: Int64(it.start),
                    until: it.until.map(Int64.init), items: it.items?.path, total: it.total?.path,
                    totalPages: it.totalPages?.path))
        }
        if let it = paginate.cursor {
            return .cursor(CursorPagination(param: it.param, path: it.path.path, items: it.items?.path))
        }
        if let it = paginate.nextLink {
            return .nextLink(NextLinkPagination(path: it.path?.path, items: it.items?.path))
        }
        return .none
    }
}

extension Pagination {
    /// The parameters that it sets.
    var parameters: [String] {
        switch self {
        case .none, .nextLink: []
        case .offset(let it): [it.param, it.limitParam].compactMap { $0 }
        case .page(let it): [it.param, it.sizeParam].compactMap { $0 }
        case .cursor(let it): [it.param]
        }
    }
}
