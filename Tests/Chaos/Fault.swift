import DataflowTesting

/// One thing that goes wrong.
package enum Fault: Hashable, Sendable {
    /// What can go wrong; a scenario names those that can happen to it.
    package enum Kind: String, CaseIterable, Sendable {
        /// The program is killed (SIGKILL) and started again.
        case kill
        /// The program is asked to stop (SIGTERM) and started again.
        case stop
        /// The wall clock jumps, forwards or backwards.
        case clockJump = "clock-jump"
        /// Every fsync takes long for a while.
        case slowDisk = "slow-disk"
        /// The checkpoint folder takes no more bytes for a while.
        case diskFull = "disk-full"
        /// All connections to PostgreSQL are cut between program and server.
        case connectionCut = "connection-cut"
        /// PostgreSQL ends the program's sessions (`pg_terminate_backend`).
        case backendTerminated = "backend-terminated"
        /// PostgreSQL is stopped for a while.
        case databaseDown = "database-down"
        /// All connections to the broker are cut between program and broker.
        case brokerCut = "broker-cut"
        /// The broker is stopped for a while, between two transactions.
        case brokerDown = "broker-down"
    }

    case kill
    case stop
    case clockJump(Duration)
    case slowDisk(each: Duration, lasting: Duration)
    case diskFull(lasting: Duration)
    case connectionCut
    case backendTerminated
    case databaseDown(Duration)
    case brokerCut
    case brokerDown(Duration)

    package var kind: Kind {
        switch self {
        case .kill: .kill
        case .stop: .stop
        case .clockJump: .clockJump
        case .slowDisk: .slowDisk
        case .diskFull: .diskFull
        case .connectionCut: .connectionCut
        case .backendTerminated: .backendTerminated
        case .databaseDown: .databaseDown
        case .brokerCut: .brokerCut
        case .brokerDown: .brokerDown
        }
    }

    /// How long it lasts until it is mended; nil: it is over at once.
    package var lasting: Duration? {
        switch self {
        case .slowDisk(_, let time), .diskFull(let time), .databaseDown(let time), .brokerDown(let time): time
        case .kill, .stop, .clockJump, .connectionCut, .backendTerminated, .brokerCut: nil
        }
    }

    static func drawn(_ kind: Kind, _ random: inout some RandomNumberGenerator) -> Fault {
        func milliseconds(_ range: ClosedRange<Int>) -> Duration {
            .milliseconds(Int.random(in: range, using: &random))
        }
        switch kind {
        case .kill: return .kill
        case .stop: return .stop
        case .clockJump: return .clockJump(.seconds(Int.random(in: -86_400...86_400, using: &random)))
        case .slowDisk: return .slowDisk(each: milliseconds(20...200), lasting: milliseconds(200...1000))
        case .diskFull: return .diskFull(lasting: milliseconds(100...1000))
        case .connectionCut: return .connectionCut
        case .backendTerminated: return .backendTerminated
        case .databaseDown: return .databaseDown(milliseconds(50...1000))
        case .brokerCut: return .brokerCut
        case .brokerDown: return .brokerDown(milliseconds(50...1000))
        }
    }
}

/// What goes wrong and when: the same for the same seed.
package struct FaultPlan: Sendable {
    package struct Step: Sendable {
        /// How long after the end of the step before, or after the next checkpoint.
        package var after: Duration
        /// The program is given time to complete a checkpoint first: otherwise, where starting takes long, it would come to nothing
        /// else.
        package var awaitsCheckpoint: Bool
        package var fault: Fault
        /// The program is killed while the fault lasts.
        package var killsMeanwhile: Bool
        /// Subtasks a node of the program when it is started again the next time.
        package var parallelism: Int
    }

    package let seed: UInt64
    package let steps: [Step]

    /// How long it takes at least.
    var duration: Duration { steps.reduce(.zero) { $0 + $1.after + ($1.fault.lasting ?? .zero) } }

    /// - Parameter kinds: what may happen; killing as often as all others together, and of those each as often as another.
    package init(seed: UInt64, faults: Int, kinds: [Fault.Kind]) {
        self.seed = seed
        var random = SplitMix(state: seed)
        let others = kinds.filter { $0 != .kill }
        var next: [Fault.Kind] = []
        let all = kinds.contains(.kill) ? others + Array(repeating: .kill, count: max(1, others.count)) : others
        steps = (0..<faults).map { _ in
            if next.isEmpty { next = all.shuffled(using: &random) }
            let fault = Fault.drawn(next.popLast() ?? .kill, &random)
            return Step(
                after: .milliseconds(Int.random(in: 0...600, using: &random)),
                awaitsCheckpoint: Int.random(in: 0..<4, using: &random) > 0, fault: fault,
                killsMeanwhile: fault.lasting != nil && kinds.contains(.kill)
                    && Int.random(in: 0..<3, using: &random) == 0,
                parallelism: [1, 2, 4].randomElement(using: &random) ?? 1)
        }
    }
}
