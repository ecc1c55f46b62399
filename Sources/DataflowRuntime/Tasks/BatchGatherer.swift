import DataflowOperator

/// Puts the small batches of a source together, so that what follows works on many rows at once.
///
/// A batch leaves when it has 8,192 rows or 1 MiB, when something must not overtake it, or when its first rows have waited
/// for `linger`. Batches that are large already pass, cut to 8,192 rows.
struct BatchGatherer {
    private let linger: Duration
    private var parts: [RecordBatch] = []
    private var rows = 0
    private var bytes = 0
    /// When the gathered rows must leave.
    private(set) var deadline: ContinuousClock.Instant?

    init(linger: Duration) { self.linger = linger }

    /// Takes what a source has emitted.
    ///
    /// - Returns: what leaves now, in order.
    mutating func add(
        _ elements: [OutputBuffer.Element], _ now: ContinuousClock.Instant
    ) -> [OutputBuffer.Element] {
        var leaving: [OutputBuffer.Element] = []
        for element in elements {
            switch element {
            case .batch(let batch, .main): add(batch, now, &leaving)
            case .batch: leaving.append(element)
            case .watermark, .split:
                flush(&leaving)
                leaving.append(element)
            }
        }
        if let deadline, deadline <= now { flush(&leaving) }
        return leaving
    }

    private mutating func add(
        _ batch: RecordBatch, _ now: ContinuousClock.Instant, _ leaving: inout [OutputBuffer.Element]
    ) {
        let size = batch.byteCount
        let fits =
            batch.deletes == nil && batch.rowCount < RecordBatch.defaultRowCount / 2
            && size < RecordBatch.defaultByteCount / 2
        let follows =
            parts.first.map { first in
                first.split == batch.split && rows + batch.rowCount <= RecordBatch.defaultRowCount
                    && bytes + size <= RecordBatch.defaultByteCount
            } ?? true
        if !fits || !follows { flush(&leaving) }
        guard fits else {
            var start = 0
            while start < batch.rowCount {
                let end = min(start + RecordBatch.defaultRowCount, batch.rowCount)
                leaving.append(.batch(end - start == batch.rowCount ? batch : batch.slice(start..<end), .main))
                start = end
            }
            return
        }
        parts.append(batch)
        rows += batch.rowCount
        bytes += size
        if deadline == nil { deadline = now.advanced(by: linger) }
    }

    /// Lets the gathered rows go.
    mutating func flush() -> [OutputBuffer.Element] {
        var leaving: [OutputBuffer.Element] = []
        flush(&leaving)
        return leaving
    }

    private mutating func flush(_ leaving: inout [OutputBuffer.Element]) {
        deadline = nil
        guard let first = parts.first else { return }
        leaving.append(.batch(parts.count == 1 ? first : .concatenate(first.schema, parts), .main))
        parts.removeAll(keepingCapacity: true)
        rows = 0
        bytes = 0
    }
}
