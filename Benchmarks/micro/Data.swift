import DataflowColumnar
import DataflowOperator
import Logging

/// SplitMix64 (Steele, Lea and Flood 2014): the same rows in every run.
struct Random {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func next(below limit: Int) -> Int { Int(next() % UInt64(limit)) }
}

struct FixedClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 1_700_000_000_000_000 }
}

/// Events as those of w2 and w3: time, item (10,000 of them, skewed), country (200), price.
enum Events {
    static let rowCount = RecordBatch.defaultRowCount
    static let schema = Schema([
        Field("event_time", .timestamp, nullable: false), Field("item", .string), Field("country", .string),
        Field("price", .float64),
    ])

    /// A batch of consecutive events, 360 µs apart, from row `first` on.
    static func batch(from first: Int = 0) -> RecordBatch {
        var random = Random(state: UInt64(first) &+ 1)
        var items = ViewBuilder(capacity: rowCount)
        var countries = ViewBuilder(capacity: rowCount)
        var prices: [Double] = []
        for _ in 0..<rowCount {
            let skew = random.next(below: 100) * random.next(below: 100)
            let number = String(skew + 10_000)
            items.append("item-0\(number.dropFirst())")
            countries.append("c\(random.next(below: 200))")
            prices.append(Double(random.next(below: 50_000)) / 100)
        }
        let times = Values<Int64>(count: rowCount) { target in
            for i in 0..<rowCount { target[i] = 1_735_689_600_000_000 + Int64(first + i) * 360 }
        }
        return RecordBatch(
            schema,
            [
                Column(.timestamp, .int64(times)), items.finish(), countries.finish(),
                Column(.float64, .float64(Values(prices))),
            ])
    }
}

func context(_ inputs: [Stream], _ outputs: [Stream]) -> OperatorContext {
    OperatorContext(
        pipeline: "micro", node: "case", inputs: inputs, outputs: outputs, lineage: "micro", generation: 1,
        stateDirectory: "/nonexistent", logger: Logger(label: "micro"), clock: FixedClock())
}
