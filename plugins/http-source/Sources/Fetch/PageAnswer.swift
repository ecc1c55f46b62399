import DataflowColumnar

/// A page that was received, complete and checked.
struct FetchedPage: Sendable {
    var position: Paginator.Position
    /// As rows and messages show it.
    var shownURL: String
    var status: Int
    var body: Buffer
    var facts: PageFacts
    var fetchedAt: Moment
    /// The data set's revision, where the server names it.
    var revision: String?
    /// What a conditional request for the same URL can refer to.
    var validators = Validators()
}

/// What the server gave so that a later request can ask "only if it has changed".
struct Validators: Sendable, Equatable {
    var entityTag: String?
    var lastModified: String?

    var isEmpty: Bool { entityTag == nil && lastModified == nil }
}

/// What went wrong with one request.
struct FetchProblem: Error, Sendable, Equatable {
    /// One sentence, without secrets: what was asked and what came.
    var message: String
    var status: Int?
    /// What the server asked for.
    var retryAfter: Duration?
    /// The whole node should pause, not only this page: the server is overloaded.
    var isOverload = false
    /// Given up for now, though another attempt may succeed some time.
    var canRetryLater = false
}

/// What one request came to.
enum PageAnswer: Sendable {
    case page(FetchedPage)
    /// 304: nothing has changed since the last read.
    case notModified
    /// 204: there is nothing here.
    case empty
    /// An absolute URL.
    case redirect(to: String, sendsCredentials: Bool)
    /// Trying again may help.
    case transient(FetchProblem)
    /// Trying again would meet the same.
    case final(FetchProblem)
}
