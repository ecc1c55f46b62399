import DataflowColumnar
import DataflowHTTP

/// Decides what an answer means: a page, a redirect, something to try again, or the end of it.
struct ResponseReader {
    let pageURL: PageURL
    let pagination: Pagination
    let retry: RetryPolicy
    let revisionHeader: String
    let probe: PageProbe
    /// Texts that must not appear in a message, whatever the server echoes.
    let secrets: [String]

    /// What the end of a request means.
    ///
    /// - Parameters:
    ///   - url: as it was sent.
    ///   - isConditional: the request named an ETag or date, so 304 is an answer.
    func answer(
        _ result: Result<HTTPResponse, HTTPFailure>, url: String, position: Paginator.Position, isConditional: Bool,
        now: Moment
    ) -> PageAnswer {
        switch result {
        case .failure(let failure):
            let problem = FetchProblem(message: scrubbed("GET \(pageURL.redacted(url)): \(failure.message)"))
            return failure.kind == .final ? .final(problem) : .transient(problem)
        case .success(let response):
            switch response.status {
            case 204: return .empty
            case 200..<300: return page(response, url, position, now)
            case 304 where isConditional: return .notModified
            case 301, 302, 303, 307, 308:
                if let location = response.headers["Location"] { return redirect(response, url, location) }
                return refusal(response, url, now)
            default: return refusal(response, url, now)
            }
        }
    }

    private func page(_ response: HTTPResponse, _ url: String, _ position: Paginator.Position, _ now: Moment)
        -> PageAnswer
    {
        var facts: PageFacts
        do throws(PageProblem) {
            facts = try probe.facts(of: response.body)
            facts.nextLink = try nextLink(facts, response, url)
        } catch {
            let problem = FetchProblem(
                message: scrubbed("GET \(pageURL.redacted(url)): \(described(response)), but \(error.message)"),
                status: response.status, retryAfter: RetryAfter.delay(response.headers["Retry-After"], now: now))
            return error.isTransient ? .transient(problem) : .final(problem)
        }
        return .page(
            FetchedPage(
                position: position, shownURL: pageURL.redacted(url), status: response.status, body: response.body,
                facts: facts, fetchedAt: now, revision: response.headers[revisionHeader],
                validators: Validators(
                    entityTag: response.headers["ETag"], lastModified: response.headers["Last-Modified"])))
    }

    /// The absolute URL of the next page where links are followed.
    private func nextLink(_ facts: PageFacts, _ response: HTTPResponse, _ url: String) throws(PageProblem) -> String? {
        guard case .nextLink(let pagination) = pagination else { return facts.nextLink }
        let written =
            pagination.path == nil ? LinkHeader.target("next", in: response.headers.all("Link")) : facts.nextLink
        guard let written, !written.isEmpty else { return nil }
        guard let absolute = URLHandle(url)?.resolving(written) else {
            throw .missing(
                path: pagination.path?.text ?? "Link: rel=next", expected: "a URL",
                found: "\"\(pageURL.redacted(written))\"")
        }
        return absolute
    }

    private func redirect(_ response: HTTPResponse, _ url: String, _ location: String) -> PageAnswer {
        guard let from = URLHandle(url), let target = from.resolving(location), let to = URLHandle(target) else {
            return .final(
                problem(response, url, "its Location \"\(pageURL.redacted(location))\" is not an http or https URL"))
        }
        guard from.scheme != "https" || to.scheme == "https" else {
            return .final(
                problem(response, url, "it leads from https to \(pageURL.redacted(target)), which is not encrypted"))
        }
        return .redirect(to: target, sendsCredentials: from.origin == to.origin)
    }

    private func refusal(_ response: HTTPResponse, _ url: String, _ now: Moment) -> PageAnswer {
        var detail = PageProbe.excerpt(response.body)
        let code = response.headers[retry.errorCodeHeader]
        if let code { detail = "\(retry.errorCodeHeader) \(code), \(detail)" }
        var problem = problem(response, url, detail)
        problem.retryAfter = RetryAfter.delay(response.headers["Retry-After"], now: now)
        problem.isOverload = response.status == 429 || problem.retryAfter != nil
        if response.status == 304 || retry.isTransient(status: response.status, errorCode: code) {
            return .transient(problem)
        }
        switch response.status {
        case 401, 403: problem.message += "; expected 200: check `auth`, and the names in `url` and `query`"
        case 400..<500: problem.message += "; expected 200: check `url`, `query` and `paginate`"
        default: problem.message += "; expected 200"
        }
        return .final(problem)
    }

    private func problem(_ response: HTTPResponse, _ url: String, _ detail: String) -> FetchProblem {
        FetchProblem(
            message: scrubbed("GET \(pageURL.redacted(url)): \(described(response)): \(detail)"),
            status: response.status)
    }

    /// `404 Not Found`, `200 OK (text/html)`.
    private func described(_ response: HTTPResponse) -> String {
        let reason = ResponseReader.reasons[response.status].map { " \($0)" } ?? ""
        let type = response.headers["Content-Type"].map { " (\($0.prefix { $0 != ";" }))" } ?? ""
        return "\(response.status)\(reason)\(type)"
    }

    private func scrubbed(_ text: String) -> String {
        var text = text
        for secret in secrets where secret.utf8.count >= 4 {
            while let place = text.range(ofText: secret) { text.replaceSubrange(place, with: "***") }
        }
        return text
    }

    private static let reasons: [Int: String] = [
        200: "OK", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
        307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
        403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 408: "Request Timeout",
        410: "Gone", 413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content",
        425: "Too Early", 429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented",
        502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
    ]
}
