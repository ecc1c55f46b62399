import DataflowColumnar
public import DataflowConfig
import DataflowHTTP
public import DataflowOperator
import Logging

/// Reads an HTTP API page by page, or one document again and again: one row a page, the body in `value`.
///
/// What to ask for, when, and what to try again is decided by ``PageFetcher``; this class executes it with libcurl. All
/// pages are one split on one subtask, in order. The position in a checkpoint is the one behind the last emitted page.
public final class HTTPSource: Source {
    public static let info = OperatorInfo(
        "http-source", .source, "Reads an HTTP API page by page, one row a page", maxParallelism: 1, blocks: true)

    private let config: HTTPSourceConfig
    private let context: OperatorContext
    private let schema: Schema
    private let pageURL: PageURL
    private let origin: String
    private let reader: ResponseReader
    private let headers: [HTTPHeader]
    private var fetcher: PageFetcher
    private var client: HTTPClient?
    private var limitFile: RateLimitFile?
    private var running: [HTTPClient.TransferID: RunningRequest] = [:]
    private var revision: String?
    private var isAnnounced = false
    private var hasEnded = false
    /// Wall time at ``startedAt``; from there on the monotonic clock counts, so that a step of the wall clock cannot
    /// stop or rush the source.
    private let startedWall: Moment
    private let startedAt: ContinuousClock.Instant

    /// What the client is busy with.
    private struct RunningRequest {
        var id: PageFetcher.RequestID
        var url: String
        var position: Paginator.Position
        var isConditional: Bool
    }

    public static func outputs(_ config: HTTPSourceConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(schema(config))]
    }

    private static func schema(_ config: HTTPSourceConfig) -> Schema {
        var fields = [Field("value", .bytes, nullable: false), Field("url", .string, nullable: false)]
        switch config.pagination {
        case .offset: fields.append(Field("offset", .int64, nullable: false))
        case .page, .cursor, .nextLink: fields.append(Field("page", .int64, nullable: false))
        case .none: break
        }
        fields += [
            Field("status", .int32, nullable: false), Field("fetched_at", .timestamp, nullable: false),
            Field("revision", .string),
        ]
        return Schema(fields)
    }

    public init(_ config: HTTPSourceConfig, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        schema = HTTPSource.schema(config)
        startedAt = context.clock.now
        startedWall = Moment(microseconds: context.clock.wallMicroseconds)
        let pagination = config.pagination
        pageURL = PageURL(
            base: config.url, query: config.query.map { URLParameter($0.key, $0.value) },
            secretQuery: config.secretQuery.map { URLParameter($0.key, $0.value.revealed) })
        origin = URLHandle(config.url)?.origin ?? ""
        headers =
            config.headers.map { HTTPHeader(name: $0.key, value: $0.value, isPrivate: true) }
            + config.secretHeaders.map { HTTPHeader(name: $0.key, value: $0.value.revealed, isPrivate: true) }
        guard let probe = PageProbe(pagination.paths, maxBodyBytes: config.maxBody.bytes) else {
            throw OperatorError(.engine, .withBackoff, "out_of_memory", "no memory for a JSON parser")
        }
        reader = ResponseReader(
            pageURL: pageURL, pagination: pagination, retry: config.retry.policy, revisionHeader: config.revisionHeader,
            probe: probe, secrets: HTTPSource.secrets(config))
        fetcher = PageFetcher(
            HTTPSource.fetcherSettings(config), paginator: Paginator(pagination),
            limiter: RateLimiter(interval: config.rateLimit?.interval))
    }

    private static func secrets(_ config: HTTPSourceConfig) -> [String] {
        var secrets = config.secretQuery.values.map(\.revealed) + config.secretHeaders.values.map(\.revealed)
        if let bearer = config.auth?.bearer { secrets.append(bearer.revealed) }
        if let basic = config.auth?.basic { secrets.append(basic.password.revealed) }
        return secrets + secrets.map(PageURL.encoded)
    }

    private static func fetcherSettings(_ config: HTTPSourceConfig) -> PageFetcher.Settings {
        PageFetcher.Settings(
            concurrency: config.concurrency, retry: config.retry.policy, pollInterval: config.poll,
            maxRedirects: config.maxRedirects,
            endStatuses: StatusSet(config.paginate?.endStatuses.map(\.member) ?? []), conditional: config.conditional)
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        let saved = try HTTPSourceState(state)
        if config.rateLimit != nil { limitFile = RateLimitFile(directory: context.stateDirectory) }
        let pagination = config.pagination
        var paginator = Paginator(pagination)
        if let saved {
            guard Paginator.accepts(saved.position, pagination) else {
                throw OperatorError(
                    .user, .never, "position_kind",
                    "the checkpoint's position is \(saved.position.words), which does not fit `paginate` "
                        + "(\(pagination.kind)); put `paginate` back, or start with `--restore none`")
            }
            paginator = Paginator(
                pagination, restoring: saved.position, end: saved.end, pageCount: saved.pageCount)
            revision = saved.revision
        }
        let now = now
        let nextRequest = [saved?.nextRequest, limitFile?.read()].compactMap { $0?.restored(now) }.max()
        if let pause = nextRequest.map({ $0 - now }), pause > .seconds(5) {
            context.logger.info(
                """
                the first request waits for \(pause.components.seconds) s: the run before left it so, by its rate limit \
                or since the server asked for a pause
                """, metadata: ["node": "\(context.node)"])
        }
        fetcher = PageFetcher(
            HTTPSource.fetcherSettings(config), paginator: paginator,
            limiter: RateLimiter(interval: config.rateLimit?.interval, nextStart: nextRequest),
            validators: saved?.validators ?? Validators(), nextRound: saved?.nextRound?.restored(now))
        do throws(CurlError) { client = try HTTPClient(clientSettings) } catch {
            throw OperatorError(.engine, .withBackoff, "libcurl", error.message)
        }
    }

    private var clientSettings: HTTPClient.Settings {
        HTTPClient.Settings(
            connectTimeout: config.connectTimeout, totalTimeout: config.timeout, stallTimeout: config.stallTimeout,
            maxBodyBytes: config.maxBody.bytes, userAgent: config.userAgent, compression: config.compression,
            certificateAuthorities: config.caFile, maxConnections: max(4, config.concurrency))
    }

    /// Returns with each page, at the deadline, or when the task is cancelled; waits inside libcurl.
    public func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult {
        guard let client else {
            throw OperatorError(.engine, .never, "not_open", "http-source was polled before it was opened")
        }
        if !isAnnounced {
            output.emit(.assigned([0]))
            isAnnounced = true
        }
        while true {
            switch fetcher.next(now) {
            case .start(let order): try start(order, client)
            case .cancel(let id):
                guard let transfer = running.first(where: { $0.value.id == id })?.key else { continue }
                client.cancel(transfer)
                running[transfer] = nil
            case .emit(let page):
                emit(page, into: &output)
                return .emitted
            case .wait(let moment):
                // The deadline is real time, whatever clock drives the decisions.
                let rest = ContinuousClock().now.duration(to: deadline)
                guard rest > .zero, !Task.isCancelled else { return .idle }
                let pause = moment.map { min(rest, max(.zero, $0 - now)) } ?? rest
                for completion in try await wait(client, pause) { complete(completion) }
            case .finished:
                end(&output)
                return .endOfInput
            case .fail(let problem): throw error(problem)
            }
        }
    }

    /// Waits for transfers; a cancelled task wakes it.
    private func wait(_ client: HTTPClient, _ pause: Duration) async throws(OperatorError) -> [HTTPClient.Completion] {
        let waker = client.waker
        let result: Result<[HTTPClient.Completion], CurlError> = await withTaskCancellationHandler {
            do throws(CurlError) { return .success(try client.wait(for: pause)) } catch { return .failure(error) }
        } onCancel: {
            waker.wake()
        }
        do throws(CurlError) { return try result.get() } catch {
            throw OperatorError(.external, .withBackoff, "libcurl", error.message)
        }
    }

    private func start(_ order: PageFetcher.Order, _ client: HTTPClient) throws(OperatorError) {
        limitFile?.write(fetcher.limiter.nextStart, now: now)
        let url = order.redirectURL ?? pageURL.url(order.page)
        // Links and redirects may leave the configured origin; what identifies the user stays.
        let isHome = order.sendsCredentials && URLHandle(url)?.origin == origin
        var request = HTTPRequest(url: url, headers: headers, credentials: credentials, sendsCredentials: isHome)
        if let tag = order.validators.entityTag {
            request.headers.append(HTTPHeader(name: "If-None-Match", value: tag))
        }
        if let date = order.validators.lastModified {
            request.headers.append(HTTPHeader(name: "If-Modified-Since", value: date))
        }
        do throws(CurlError) {
            running[try client.start(request)] = RunningRequest(
                id: order.id, url: url, position: order.page.position, isConditional: !order.validators.isEmpty)
        } catch {
            throw OperatorError(.external, .withBackoff, "libcurl", "GET \(pageURL.redacted(url)): \(error.message)")
        }
    }

    private var credentials: HTTPCredentials? {
        if let bearer = config.auth?.bearer { return .bearer(bearer.revealed) }
        if let basic = config.auth?.basic { return .basic(user: basic.user, password: basic.password.revealed) }
        return nil
    }

    private func complete(_ completion: HTTPClient.Completion) {
        guard let request = running.removeValue(forKey: completion.id) else { return }
        let answer = reader.answer(
            completion.result, url: request.url, position: request.position, isConditional: request.isConditional,
            now: now)
        let note = fetcher.completed(request.id, answer, now: now, random: .random(in: 0..<1))
        if case .retrying(let problem, let attempt, let pause) = note {
            limitFile?.write(fetcher.limiter.nextStart, now: now)
            context.logger.warning(
                "\(problem.message); trying again in \(pause.wholeMilliseconds) ms",
                metadata: ["node": "\(context.node)", "attempt": "\(attempt)"])
        }
    }

    private func emit(_ page: FetchedPage, into output: inout OutputBuffer) {
        if let new = page.revision, new != revision {
            if let old = revision {
                context.logger.warning(
                    """
                    the data set has changed while it was read: \(config.revisionHeader) was \(old) and is now \(new); \
                    rows may have moved between pages
                    """, metadata: ["node": "\(context.node)", "url": "\(page.shownURL)"])
            }
            revision = new
        }
        var values = ViewBuilder(capacity: 1)
        let index = values.adopt(page.body)
        page.body.withUnsafeBytes { values.append($0, inBuffer: index, offset: 0) }
        var columns = [values.finish(.bytes), Column.string([page.shownURL])]
        switch page.position {
        case .offset(let number), .page(let number): columns.append(.int64([number]))
        case .cursor, .link, .start:
            if fetcher.paginator.pagination != .none { columns.append(.int64([fetcher.paginator.pageCount - 1])) }
        }
        columns += [
            .int32([Int32(page.status)]), .timestamp([page.fetchedAt.microseconds]), .string([page.revision]),
        ]
        output.emit(RecordBatch(schema, columns, split: 0))
        context.counters.add(passed: 1)
    }

    private func end(_ output: inout OutputBuffer) {
        guard !hasEnded else { return }
        hasEnded = true
        output.emit(.ended(0))
        context.logger.info(
            "read to the end (\(fetcher.paginator.end?.rawValue ?? ""))",
            metadata: ["node": "\(context.node)", "pages": "\(fetcher.paginator.pageCount)"])
    }

    private func error(_ problem: FetchProblem) -> OperatorError {
        if problem.canRetryLater { return OperatorError(.external, .withBackoff, "http_retries", problem.message) }
        let isOurs = problem.status.map { (400..<500).contains($0) } ?? false
        return OperatorError(isOurs ? .user : .external, .never, "http_final", problem.message)
    }

    /// Wall time that only moves forward.
    private var now: Moment { startedWall + startedAt.duration(to: context.clock.now) }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        let paginator = fetcher.paginator
        let now = now
        return [
            HTTPSourceState(
                position: paginator.position, end: paginator.end, pageCount: paginator.pageCount,
                nextRequest: fetcher.limiter.nextStart.map { KeptMoment($0, keptAt: now) },
                nextRound: fetcher.nextRound.map { KeptMoment($0, keptAt: now) }, revision: revision,
                validators: fetcher.validators
            ).table
        ]
    }

    public func close() async {
        client = nil
        limitFile = nil
        running.removeAll()
    }
}

extension Paginator.Position {
    /// For messages.
    fileprivate var words: String {
        switch self {
        case .start: "the first page"
        case .offset(let offset): "offset \(offset)"
        case .page(let page): "page \(page)"
        case .cursor: "a cursor"
        case .link: "a link"
        }
    }
}

/// The plugin: one operator.
public enum HTTPSourcePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.source(HTTPSource.self)]
}
