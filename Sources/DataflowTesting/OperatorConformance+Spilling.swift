import DataflowOperator
import Synchronization

extension OperatorConformance {
    /// State on disk: for an operator that can put it there, runs that do so at moments drawn at random, with checkpoints that are
    /// read while rows come in and restores from them, with the budget and without, give what a straight run in memory gives.
    static func checkSpilling<T: Transform>(
        _ type: T.Type, _ config: T.Config, inputs: [Stream], steps: [Step]
    ) throws -> [String] {
        let folder = try TemporaryDirectory()
        // Less than anything takes.
        let memory = MemoryBudget(limit: 1, spillingTo: folder.path + "/spill")
        let empty = try OperatorHarness(type, config, inputs: inputs, memory: memory)
        guard empty.transform.canSpill else { return [] }
        let name = T.info.name
        var findings: [String] = []
        try empty.spill()
        try empty.finish()
        let straight = try OperatorHarness(type, config, inputs: inputs)
        try feed(straight, steps[...])
        try straight.finish()
        var hasSpilled = false
        for seed in 0..<6 as Range<UInt64> {
            // Snapshots that are read at the barrier, and those that are read in parts behind it.
            let limits = seed % 2 == 0 ? IncrementalTable.Limits() : .init(whole: 0, part: 1)
            var run = SpillingRun(type, config, inputs, memory, seed)
            let output = try IncrementalTable.$limits.withValue(limits) { try run.output(of: steps) }
            hasSpilled = hasSpilled || run.hasSpilled
            findings += run.findings
            let streams = straight.outputs.enumerated().map { (OutputPort(index: $0), $1) }
            for (port, stream) in streams + [(.errors, Stream(ErrorRows.schema))]
            where !isSame(straight.output, output, port, stream) {
                findings.append(
                    "\(name) with its state on disk (seed \(seed)) gives other rows on port \(port.index): \(output.rows(port)), straight through \(straight.output.rows(port))"
                )
            }
        }
        if !hasSpilled { findings.append("\(name) says that it can put state on disk, and never wrote any") }
        return findings
    }
}

/// One run that is disturbed as a seed says; seed 0 puts state on disk at every chance, and never restarts.
private struct SpillingRun<T: Transform> {
    private let config: T.Config
    private let inputs: [Stream]
    private let memory: MemoryBudget
    private let seed: UInt64
    private var random: SplitMix
    private(set) var hasSpilled = false
    private(set) var findings: [String] = []

    init(_ type: T.Type, _ config: T.Config, _ inputs: [Stream], _ memory: MemoryBudget, _ seed: UInt64) {
        self.config = config
        self.inputs = inputs
        self.memory = memory
        self.seed = seed
        random = SplitMix(state: seed)
    }

    private mutating func happens(_ chances: UInt64, of all: UInt64) -> Bool { random.next() % all < chances }

    /// What leaves, each row once however often the run goes back to a checkpoint.
    mutating func output(of steps: [OperatorConformance.Step]) throws -> Emitted {
        var harness = try OperatorHarness(T.self, config, inputs: inputs, memory: memory)
        var output = Emitted()
        /// The place of a checkpoint that is being read, and what left behind its barrier.
        var barrier: Int?
        var behind = Emitted()
        var restarts = 3
        var index = 0
        while index <= steps.count {
            try spill(harness, isReading: barrier != nil)
            if barrier == nil, happens(1, of: 2) {
                try harness.beginCheckpoint()
                output.append(harness.take().elements)
                barrier = index
            }
            if index < steps.count { try OperatorConformance.feed(harness, steps[index...index]) }
            index += 1
            try spill(harness, isReading: barrier != nil)
            guard let place = barrier else { continue }
            if happens(1, of: 2) { try harness.continueCheckpoint() }
            behind.append(harness.take().elements)
            guard index > steps.count || happens(1, of: 2) else { continue }
            let state = try harness.finishCheckpoint()
            barrier = nil
            if seed != 0, restarts > 0, happens(2, of: 3) {
                restarts -= 1
                index = place
                harness = try OperatorHarness(
                    T.self, config, inputs: inputs, restoring: state, memory: happens(3, of: 4) ? memory : nil)
            } else {
                output.append(behind.elements)
            }
            behind = Emitted()
        }
        try harness.finish()
        output.append(harness.take().elements)
        return output
    }

    private mutating func spill(_ harness: OperatorHarness<T>, isReading: Bool) throws {
        guard harness.transform.canSpill, seed == 0 || happens(1, of: 2) else { return }
        let before = harness.transform.stateByteCount
        let written = harness.context.counters.spilledBytes.load(ordering: .relaxed)
        try harness.spill()
        guard harness.context.counters.spilledBytes.load(ordering: .relaxed) > written else { return }
        hasSpilled = true
        // The rows of a snapshot may be needed until they are read.
        let after = harness.transform.stateByteCount
        if after > before, !isReading {
            findings.append("\(T.info.name) takes \(after) bytes of memory behind spill() and \(before) in front of it")
        }
    }
}
