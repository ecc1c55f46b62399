import DataflowColumnar
import DataflowOperator
import Testing

private let start = ContinuousClock.now

/// Splits with an out-of-orderness of 5 µs that fall idle after 30 s.
private func splits(_ assigned: [Int32]) -> SplitWatermarks {
    var splits = SplitWatermarks(outOfOrderness: .microseconds(5), idleTimeout: .seconds(30))
    splits.apply(.assigned(assigned), now: start)
    return splits
}

private func marks(_ splits: inout SplitWatermarks, _ times: [Int64], _ split: Int32) -> [Int64] {
    splits.observe(Values(times), split: split)?.array ?? times.map { _ in .min }
}

/// Split 1 has fallen idle at 50, split 0 has gone on to 100.
private func splitsWithAnIdleOne() -> SplitWatermarks {
    var splits = splits([0, 1])
    _ = splits.observe(Values([50]), split: 1)
    _ = splits.observe(Values([60]), split: 0)
    splits.apply(.idle(1), now: start)
    splits.expire(now: start.advanced(by: .seconds(30)))
    _ = splits.observe(Values([100]), split: 0)
    return splits
}

@Suite struct SplitWatermarksTests {
    @Test func `a split that was idle begins at the watermark that went on without it`() {
        var splits = splitsWithAnIdleOne()
        #expect(splits.next() == .time(95))
        #expect(marks(&splits, [60, 94, 95, 96], 1) == [95, 95, .min, .min])
        #expect(splits.next() == nil)
        _ = splits.observe(Values([300]), split: 0)
        #expect(splits.next() == nil, "the split that came back counts again")
        _ = splits.observe(Values([120]), split: 1)
        #expect(splits.next() == .time(115))
    }

    @Test func `a split that was idle and is ahead keeps its own watermark`() {
        var splits = splitsWithAnIdleOne()
        #expect(splits.next() == .time(95))
        #expect(marks(&splits, [200, 150], 1) == [.min, 195])
    }

    @Test func `without a merged watermark an idle split comes back where it was`() {
        var splits = splits([0, 1])
        _ = splits.observe(Values([50]), split: 1)
        splits.apply(.idle(1), now: start)
        splits.expire(now: start.advanced(by: .seconds(30)))
        #expect(splits.next() == nil, "split 0 has brought nothing yet")
        #expect(marks(&splits, [46, 44], 1) == [.min, 45])
    }

    @Test func `a split that is found later begins at the watermark`() {
        var splits = splits([0])
        _ = splits.observe(Values([100]), split: 0)
        #expect(splits.next() == .time(95))
        splits.apply(.assigned([7]), now: start)
        _ = splits.observe(Values([500]), split: 0)
        #expect(splits.next() == nil, "it holds the watermark where it is")
        #expect(marks(&splits, [90, 99], 7) == [95, .min])
        #expect(splits.next() == nil)
    }

    @Test func `an idle split goes into the checkpoint as it would come back`() {
        var splits = splitsWithAnIdleOne()
        #expect(splits.next() == .time(95))
        #expect(splits.latest.map(\.split) == [0, 1])
        #expect(splits.latest.map(\.time) == [100, 100])
        var restored = SplitWatermarks(outOfOrderness: .microseconds(5), idleTimeout: .seconds(30))
        for (split, time) in splits.latest { restored.restore(split: split, latest: time) }
        restored.apply(.assigned([0, 1]), now: start)
        #expect(restored.next() == .time(95))
        #expect(marks(&restored, [60, 94, 95, 96], 1) == [95, 95, .min, .min])
    }

    @Test func `a checkpoint in front of the first assignment keeps what was restored`() {
        var splits = SplitWatermarks(outOfOrderness: .zero, idleTimeout: .seconds(30))
        splits.restore(split: 3, latest: 70)
        #expect(splits.latest.map(\.time) == [70])
        splits.apply(.assigned([3]), now: start)
        #expect(splits.latest.map(\.time) == [70])
        splits.apply(.ended(3), now: start)
        #expect(splits.latest.isEmpty)
    }

    @Test func `the end of the last split is not an idle time`() {
        // Idle, the stream would let what follows go on to the watermark of other streams, past rows that windows hold.
        var splits = splits([0, 1])
        _ = splits.observe(Values([100]), split: 0)
        splits.apply(.ended(0), now: start)
        splits.apply(.ended(1), now: start)
        #expect(splits.next() == nil)
        splits.apply(.assigned([2]), now: start)
        _ = splits.observe(Values([200]), split: 2)
        #expect(splits.next() == .time(195))
    }

    @Test func `times at the ends of the range do not overflow`() {
        var splits = splits([0, 1])
        _ = splits.observe(Values([.max]), split: 0)
        splits.apply(.ended(1), now: start)
        #expect(splits.next() == .time(.max - 5))
        splits.apply(.assigned([2]), now: start)
        #expect(marks(&splits, [.min, .max], 2) == [.max - 5, .min])
    }
}
