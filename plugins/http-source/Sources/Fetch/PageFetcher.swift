/// Decides which page is asked for when, what is tried again, and in which order pages go on: all of the source but the
/// transfers themselves. Pure: no clock, no randomness, no I/O; the driver executes its actions.
///
/// Up to `concurrency` pages of a numbered pagination are under way at once; they go on in order. A page counts as taken
/// (``paginator`` moves behind it) at the `emit` action, never before, so a snapshot between two actions is exact.
struct PageFetcher: Sendable {
    /// Names a request under way. Never used twice.
    struct RequestID: Hashable, Sendable {
        var number: UInt64
    }

    /// What to ask for.
    struct Order: Sendable, Equatable {
        var id: RequestID
        var page: Paginator.Request
        /// Where a redirect leads; nil: the page's own URL.
        var redirectURL: String?
        var sendsCredentials = true
        /// Refer to these; only ever set where one document is polled.
        var validators = Validators()
    }

    enum Action: Sendable {
        case start(Order)
        case cancel(RequestID)
        /// Give the page to the pipeline, now.
        case emit(FetchedPage)
        /// Nothing to do until a request ends or the moment has come (nil: until a request ends).
        case wait(until: Moment?)
        /// There is nothing more to read.
        case finished
        case fail(FetchProblem)
    }

    /// What the driver may want to tell the user.
    enum Note: Sendable, Equatable {
        case retrying(FetchProblem, attempt: Int, pause: Duration)
    }

    struct Settings: Sendable {
        var concurrency = 1
        var retry = RetryPolicy()
        /// From the start of one round of reading to the next; nil: one round.
        var pollInterval: Duration?
        var maxRedirects = 5
        /// Statuses that mean "there is no such page, the last was the end".
        var endStatuses = StatusSet([])
        /// Ask for one document only if it has changed.
        var conditional = true
    }

    let settings: Settings
    private(set) var paginator: Paginator
    private(set) var limiter: RateLimiter
    /// Of the document last taken.
    private(set) var validators: Validators
    /// When the next round begins; nil during a round.
    private(set) var nextRound: Moment?
    private var roundStart: Moment?
    private var slots: [Slot] = []
    private var toCancel: [RequestID] = []
    private var lastID: UInt64 = 0

    init(
        _ settings: Settings, paginator: Paginator, limiter: RateLimiter, validators: Validators = Validators(),
        nextRound: Moment? = nil
    ) {
        self.settings = settings
        self.paginator = paginator
        self.limiter = limiter
        self.validators = validators
        self.nextRound = nextRound
    }

    /// A page between "should be read" and "was taken".
    private struct Slot: Sendable {
        enum Phase: Sendable {
            case idle(notBefore: Moment)
            case running(RequestID)
            case ready(FetchedPage)
            case notModified
            case beyondEnd
            case failed(FetchProblem)
        }

        var page: Paginator.Request
        var phase = Phase.idle(notBefore: .distantPast)
        var attempts = 0
        var firstStart: Moment?
        var redirectCount = 0
        var redirectURL: String?
        var sendsCredentials = true
    }

    /// The next thing to do. Call it until it answers `wait`, `finished` or `fail`.
    mutating func next(_ now: Moment) -> Action {
        while true {
            if let id = toCancel.popLast() { return .cancel(id) }
            if let action = settleHead() { return action }
            if paginator.end != nil {
                dropSlots()
                if !toCancel.isEmpty { continue }
                guard let interval = settings.pollInterval else { return .finished }
                let due = nextRound ?? max(now, (roundStart ?? now) + interval)
                nextRound = due
                guard now >= due else { return .wait(until: due) }
                nextRound = nil
                roundStart = nil
                paginator.beginRound()
                // A round may have nothing to read, e.g. behind `until`: then the next one is due an interval later.
                if paginator.end != nil { roundStart = now }
                continue
            }
            fillSlots()
            return startOrWait(now)
        }
    }

    /// Takes the end of a request. An id that was cancelled is ignored.
    ///
    /// - Parameter random: evenly distributed in 0 ..< 1, for the jitter.
    mutating func completed(_ id: RequestID, _ answer: PageAnswer, now: Moment, random: Double) -> Note? {
        guard
            let index = slots.firstIndex(where: {
                if case .running(let running) = $0.phase { running == id } else { false }
            })
        else { return nil }
        switch answer {
        case .page(let page): slots[index].phase = .ready(page)
        case .notModified: slots[index].phase = .notModified
        case .empty: slots[index].phase = .beyondEnd
        case .redirect(let url, let sendsCredentials):
            slots[index].redirectCount += 1
            if slots[index].redirectCount > settings.maxRedirects {
                slots[index].phase = .failed(
                    FetchProblem(message: "more than \(settings.maxRedirects) redirects in a row"))
            } else {
                slots[index].redirectURL = url
                slots[index].sendsCredentials = slots[index].sendsCredentials && sendsCredentials
                slots[index].phase = .idle(notBefore: .distantPast)
            }
        case .transient(let problem): return retry(index, problem, now, random)
        case .final(let problem):
            let isEnd = problem.status.map {
                settings.endStatuses.contains($0) || (paginator.isBeyondEnd && ($0 == 404 || $0 == 416))
            }
            slots[index].phase = isEnd == true && paginator.pagination.isNumbered ? .beyondEnd : .failed(problem)
        }
        return nil
    }

    private mutating func retry(_ index: Int, _ problem: FetchProblem, _ now: Moment, _ random: Double) -> Note? {
        let slot = slots[index]
        let elapsed = slot.firstStart.map { now - $0 } ?? .zero
        let pause = settings.retry.pause(
            attempts: slot.attempts, elapsed: elapsed, retryAfter: problem.retryAfter, random: random)
        guard let pause else {
            var problem = problem
            problem.canRetryLater = true
            problem.message += "; given up after \(slot.attempts) requests in \(elapsed.components.seconds) s"
            slots[index].phase = .failed(problem)
            return nil
        }
        slots[index].phase = .idle(notBefore: now + pause)
        slots[index].redirectURL = nil
        slots[index].redirectCount = 0
        slots[index].sendsCredentials = true
        if problem.isOverload { limiter.holdOff(until: now + pause) }
        return .retrying(problem, attempt: slot.attempts, pause: pause)
    }

    /// Takes the first page if it is there; nil when it is not.
    private mutating func settleHead() -> Action? {
        while let head = slots.first {
            switch head.phase {
            case .idle, .running: return nil
            case .failed(let problem): return .fail(problem)
            case .beyondEnd:
                slots.removeFirst()
                paginator.meetEnd()
            case .notModified:
                slots.removeFirst()
                // The same document as before: taken already.
                paginator.meetEnd()
            case .ready(let page):
                let turn: Paginator.Turn
                do throws(PageProblem) { turn = try paginator.advance(page.facts) } catch {
                    return .fail(FetchProblem(message: "\(page.shownURL): \(error.message)", status: page.status))
                }
                slots.removeFirst()
                if case .none = paginator.pagination { validators = page.validators }
                dropSlotsThatNoLongerFit()
                if turn == .emit { return .emit(page) }
            }
        }
        return nil
    }

    /// After a short page the pages asked for ahead are not the right ones.
    private mutating func dropSlotsThatNoLongerFit() {
        for (ahead, slot) in slots.enumerated() where paginator.request(ahead: ahead) != slot.page {
            dropSlots(from: ahead)
            return
        }
    }

    private mutating func dropSlots(from first: Int = 0) {
        for slot in slots[first...] {
            if case .running(let id) = slot.phase { toCancel.append(id) }
        }
        slots.removeSubrange(first...)
    }

    private mutating func fillSlots() {
        // Behind a former end there is mostly nothing: one request finds out.
        let room = paginator.isBeyondEnd ? 1 : settings.concurrency
        while slots.count < room, let page = paginator.request(ahead: slots.count) {
            slots.append(Slot(page: page))
        }
    }

    private mutating func startOrWait(_ now: Moment) -> Action {
        let permitted = limiter.earliestStart(now)
        var earliest: Moment?
        for index in slots.indices {
            guard case .idle(let notBefore) = slots[index].phase else { continue }
            let start = max(notBefore, permitted)
            if start <= now { return .start(order(index, now)) }
            earliest = earliest.map { min($0, start) } ?? start
        }
        return .wait(until: earliest)
    }

    private mutating func order(_ index: Int, _ now: Moment) -> Order {
        lastID += 1
        let id = RequestID(number: lastID)
        limiter.start(now)
        roundStart = roundStart ?? now
        slots[index].phase = .running(id)
        if slots[index].redirectURL == nil { slots[index].attempts += 1 }
        slots[index].firstStart = slots[index].firstStart ?? now
        let isDocument = if case .none = paginator.pagination { true } else { false }
        return Order(
            id: id, page: slots[index].page, redirectURL: slots[index].redirectURL,
            sendsCredentials: slots[index].sendsCredentials,
            validators: isDocument && settings.conditional ? validators : Validators())
    }
}
