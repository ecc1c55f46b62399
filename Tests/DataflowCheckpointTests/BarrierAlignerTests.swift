import DataflowCheckpoint
import DataflowOperator
import Testing

@Suite struct `Barrier aligner` {
    typealias Action = BarrierAligner.Action

    let one = barrier(1)
    let two = barrier(2)

    @Test func `a single input is aligned at once`() {
        var aligner = BarrierAligner(inputs: 1)
        #expect(aligner.barrier(one, on: 0) == .snapshot(one, unblock: [0]))
        #expect(aligner.barrier(two, on: 0) == .snapshot(two, unblock: [0]))
    }

    @Test func `the first of two inputs is blocked until the second brings the barrier`() {
        var aligner = BarrierAligner(inputs: 2)
        #expect(aligner.barrier(one, on: 1) == .block(input: 1))
        #expect(aligner.aligning == one.id)
        #expect(aligner.barrier(one, on: 0) == .snapshot(one, unblock: [0, 1]))
        #expect(aligner.aligning == nil)
    }

    @Test func `the end of the last input that was waited for completes the alignment`() {
        var aligner = BarrierAligner(inputs: 2)
        #expect(aligner.barrier(one, on: 0) == .block(input: 0))
        #expect(aligner.endOfInput(1) == .snapshot(one, unblock: [0]))
    }

    @Test func `a finished input counts as aligned for later checkpoints`() {
        var aligner = BarrierAligner(inputs: 2)
        #expect(aligner.endOfInput(0) == .none)
        #expect(aligner.barrier(one, on: 1) == .snapshot(one, unblock: [1]))
        #expect(aligner.barrier(one, on: 0) == .none, "the late barrier of an ended input is dropped")
        #expect(aligner.barrier(two, on: 0) == .none, "a barrier on an ended input blocks nothing")
        #expect(aligner.barrier(two, on: 1) == .snapshot(two, unblock: [1]))
    }

    @Test func `when all inputs have ended the first barrier aligns`() {
        var aligner = BarrierAligner(inputs: 3)
        for input in 0..<3 { #expect(aligner.endOfInput(input) == .none) }
        #expect(aligner.allEnded)
        #expect(aligner.barrier(one, on: 2) == .snapshot(one, unblock: []))
        #expect(aligner.barrier(one, on: 0) == .none)
        #expect(aligner.barrier(one, on: 1) == .none)
    }

    @Test func `an input behind a sink is waited for although it has ended`() {
        var aligner = BarrierAligner(inputs: 2, behindSinks: [1])
        #expect(aligner.endOfInput(0) == .none)
        #expect(aligner.endOfInput(1) == .none)
        #expect(aligner.allEnded)
        #expect(aligner.barrier(one, on: 0) == .none, "rows that the sink refuses at its flush may still come")
        #expect(aligner.barrier(one, on: 1) == .snapshot(one, unblock: []))
        #expect(aligner.barrier(two, on: 1) == .snapshot(two, unblock: []))
        #expect(aligner.barrier(two, on: 0) == .none)
    }

    @Test func `the end of an input behind a sink completes no alignment`() {
        var aligner = BarrierAligner(inputs: 2, behindSinks: [1])
        #expect(aligner.barrier(one, on: 0) == .block(input: 0))
        #expect(aligner.endOfInput(1) == .none)
        #expect(aligner.barrier(one, on: 1) == .snapshot(one, unblock: [0]))
    }

    /// What an input does, in its order: barriers 1 and 2, the end at one of the places between or never.
    enum Event: Equatable { case barrier(Int), end }

    static func histories() -> [[Event]] {
        [
            [.barrier(1), .barrier(2)], [.end, .barrier(1), .barrier(2)], [.barrier(1), .end, .barrier(2)],
            [.barrier(1), .barrier(2), .end],
        ]
    }

    @Test(arguments: [2, 3], [[], [0], [0, 1]] as [Set<Int>])
    func `in every interleaving with ends each checkpoint is taken once, with no row of a blocked input before it`(
        inputs: Int, behindSinks: Set<Int>
    ) {
        var choices: [[[Event]]] = [[]]
        for _ in 0..<inputs { choices = choices.flatMap { chosen in Self.histories().map { chosen + [$0] } } }
        var runs = 0
        for histories in choices {
            explore(Run(histories, behindSinks), &runs)
        }
        #expect(runs > (inputs == 2 ? 100 : 10_000))
    }

    /// One partial run: what each input has left, which inputs are blocked, which checkpoints were taken.
    struct Run {
        var left: [ArraySlice<Event>]
        var blocked: Set<Int> = []
        var aligner: BarrierAligner
        var taken: [UInt64] = []
        var seen: [Int: Set<Int>] = [:]  // checkpoint → inputs whose barrier arrived
        var ended: Set<Int> = []

        let behindSinks: Set<Int>

        init(_ histories: [[Event]], _ behindSinks: Set<Int>) {
            left = histories.map { $0[...] }
            self.behindSinks = behindSinks
            aligner = BarrierAligner(inputs: histories.count, behindSinks: behindSinks)
        }
    }

    func explore(_ run: Run, _ runs: inout Int) {
        var moved = false
        for input in run.left.indices where !run.blocked.contains(input) {
            guard let event = run.left[input].first else { continue }
            // The coordinator injects barrier 2 only after checkpoint 1 is complete.
            if event == .barrier(2), run.taken.isEmpty { continue }
            moved = true
            var next = run
            next.left[input].removeFirst()
            let action: Action
            switch event {
            case .barrier(let id):
                next.seen[id, default: []].insert(input)
                action = next.aligner.barrier(barrier(UInt64(id)), on: input)
            case .end:
                next.ended.insert(input)
                action = next.aligner.endOfInput(input)
            }
            switch action {
            case .none: break
            case .block(let blocked):
                #expect(blocked == input && !next.ended.contains(input))
                next.blocked.insert(blocked)
            case .snapshot(let barrier, let unblock):
                let id = Int(barrier.id.number)
                next.taken.append(barrier.id.number)
                let silent = next.ended.subtracting(run.behindSinks)
                #expect(next.seen[id, default: []].union(silent).count == run.left.count, "aligned too early")
                #expect(Set(unblock) == next.seen[id, default: []].subtracting(next.ended))
                next.blocked.subtract(unblock)
                #expect(next.blocked.isEmpty)
            }
            explore(next, &runs)
        }
        guard !moved else { return }
        runs += 1
        #expect(run.taken == [1, 2], "stuck with \(run.left)")
        #expect(run.left.allSatisfy { $0.isEmpty })
    }
}

func barrier(_ id: UInt64, _ purpose: CheckpointBarrier.Purpose = .periodic) -> CheckpointBarrier {
    CheckpointBarrier(id: CheckpointID(id), purpose: purpose)
}
