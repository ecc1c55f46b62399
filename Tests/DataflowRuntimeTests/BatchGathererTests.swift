import DataflowColumnar
import DataflowOperator
import Testing

@testable import DataflowRuntime

@Suite struct `Batch gatherer` {
    let schema = Schema([Field("n", .int64, nullable: false)])
    let now = ContinuousClock.now

    func batch(_ rows: Int, split: Int32 = 0) -> OutputBuffer.Element {
        .batch(
            RecordBatch(schema, [Column(.int64, .int64(Values(repeating: 1, count: rows)))], split: split), .main)
    }

    /// What leaves, in short: rows of batches, `w` for a watermark.
    func describe(_ elements: [OutputBuffer.Element]) -> [String] {
        elements.map { element in
            switch element {
            case .batch(let batch, let port): port == .main ? "\(batch.rowCount)" : "error \(batch.rowCount)"
            case .watermark: "w"
            case .split: "split"
            }
        }
    }

    @Test func `small batches wait for each other until linger is over`() {
        var gatherer = BatchGatherer(linger: .milliseconds(10))
        #expect(describe(gatherer.add([batch(10), batch(20)], now)) == [])
        #expect(gatherer.deadline == now.advanced(by: .milliseconds(10)))
        #expect(describe(gatherer.add([batch(5)], now.advanced(by: .milliseconds(9)))) == [])
        #expect(describe(gatherer.add([], now.advanced(by: .milliseconds(10)))) == ["35"])
        #expect(gatherer.deadline == nil)
    }

    @Test func `without linger a poll's rows leave at once`() {
        var gatherer = BatchGatherer(linger: .zero)
        #expect(describe(gatherer.add([batch(10), batch(20)], now)) == ["30"])
    }

    @Test func `a full batch leaves, a large one passes behind what waits, a huge one is cut`() {
        var gatherer = BatchGatherer(linger: .seconds(1))
        #expect(describe(gatherer.add([batch(4000), batch(4000), batch(4000)], now)) == ["8000"])
        #expect(describe(gatherer.add([batch(8192)], now)) == ["4000", "8192"])
        #expect(describe(gatherer.add([batch(20000)], now)) == ["8192", "8192", "3616"])
    }

    @Test func `rows of two splits are not mixed and nothing overtakes a watermark`() {
        var gatherer = BatchGatherer(linger: .seconds(1))
        #expect(describe(gatherer.add([batch(1), batch(2, split: 1)], now)) == ["1"])
        #expect(describe(gatherer.add([.watermark(.time(1)), batch(3, split: 1)], now)) == ["2", "w"])
        #expect(describe(gatherer.flush()) == ["3"])
    }

    @Test func `errors pass`() {
        var gatherer = BatchGatherer(linger: .seconds(1))
        let errors = OutputBuffer.Element.batch(.empty(ErrorRows.schema), .errors)
        #expect(describe(gatherer.add([batch(1), errors], now)) == ["error 0"])
    }
}
