/// Why a complete answer with a good status is not a page.
enum PageProblem: Error, Sendable, Equatable {
    /// Not JSON at all, such as a proxy's HTML; `excerpt` is its beginning.
    case notJSON(reason: String, excerpt: String)
    /// There is nothing at the path, or something of another kind.
    case missing(path: String, expected: String, found: String)
    /// The page names itself as the next one.
    case repeatsItself

    /// True for what another attempt may mend.
    var isTransient: Bool {
        switch self {
        case .notJSON, .missing: true
        case .repeatsItself: false
        }
    }

    var message: String {
        switch self {
        case .notJSON(let reason, let excerpt):
            "the body is not JSON (\(reason)); it begins with \(excerpt)"
        case .missing(let path, let expected, let found):
            "`\(path)` is \(found), expected \(expected)"
        case .repeatsItself:
            "the page names itself as the next page"
        }
    }
}
