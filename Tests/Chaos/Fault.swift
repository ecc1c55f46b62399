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
        }
    }

    /// How long it lasts until it is mended; nil: it is over at once.
    package var lasting: Duration? {
        switch self {
        case .slowDisk(_, let time), .diskFull(let time), .databaseDown(let time): time
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
        }
    }
}

/// What goes wrong and when: the same for the same seed.
package struct FaultPlan: Sendable {
    package struct Step: Sendable {
        /// From the end of the step before.
        package var after: Duration
        package var fault: Fault
        /// The program is killed while the fault lasts.
        package var killsMeanwhile: Bool
        /// Subtasks a node of the program when it is started again the next time.
        package var parallelism: Int
    }

    package let seed: UInt64
    package let steps: [Step]

    /// How long it takes at least.
    var milliseconds: Int {
        steps.reduce(0) { total, step in
            total + Int((step.after + (step.fault.lasting ?? .zero)) / .milliseconds(1))
        }
    }

    /// - Parameter kinds: what may happen; killing as often as all others together.
    package init(seed: UInt64, faults: Int, kinds: [Fault.Kind]) {
        self.seed = seed
        var random = SplitMix(state: seed)
        let others = kinds.filter { $0 != .kill }
        steps = (0..<faults).map { _ in
            let kills = kinds.contains(.kill) && (others.isEmpty || Bool.random(using: &random))
            let fault = Fault.drawn(kills ? .kill : others.randomElement(using: &random) ?? .kill, &random)
            return Step(
                after: .milliseconds(Int.random(in: 100...900, using: &random)), fault: fault,
                killsMeanwhile: fault.lasting != nil && kinds.contains(.kill)
                    && Int.random(in: 0..<3, using: &random) == 0,
                parallelism: [1, 2, 4].randomElement(using: &random) ?? 1)
        }
    }
}
