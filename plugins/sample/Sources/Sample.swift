public import DataflowOperator

/// Settings of `sample`.
public struct SampleConfig: OperatorConfig {
    public var rate = 0.0
    public var key: OneOrMany<Located<String>>?
    public var seed = 0

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("rate", \.rate, .required, "Which part of the rows goes on: `0.01` is one in a hundred.") {
            $0 > 0 && $0 <= 1 ? nil : "must be more than 0 and at most 1"
        }
        ConfigField(
            "key", \.key,
            "Columns: rows with the same values in all of them go on together or not at all. Default: all columns; of an upsert stream its key.",
            examples: [OneOrMany([Located("user_id")])]
        ) { $0?.elements.isEmpty == true ? "must name at least one column" : nil }
        ConfigField("seed", \.seed, "Another number chooses other rows.")
    }
}

/// `sample`: a part of the rows, chosen by a hash of their values.
///
/// The same rows are chosen whatever the batches, the parallelism and the restarts, and by every node with the same key
/// and seed; a lower rate chooses some of those of a higher one.
public final class Sample: Transform {
    public typealias Config = SampleConfig

    public static let info = OperatorInfo("sample", .transform, "Lets a part of the rows go on.")

    /// Positions of the columns that decide.
    private static func key(_ config: Config, _ input: Stream) throws(ConfigError) -> [Int] {
        guard let names = config.key?.elements else {
            let own = input.kind.key?.compactMap { input.schema.index(of: $0) } ?? []
            return own.isEmpty ? Array(input.schema.fields.indices) : own
        }
        var findings = DiagnosticCollector()
        var key: [Int] = []
        for name in names {
            let length = name.value.unicodeScalars.count
            guard let index = input.schema.index(of: name.value) else {
                findings.append(
                    Diagnostic(
                        .error, "unknown-column",
                        "there is no column `\(name.value)`\(Suggestion.phrase(for: name.value, among: input.schema.names))",
                        at: name.mark, length: length,
                        hint: "the input has \(input.schema.names.joined(separator: ", "))"))
                continue
            }
            if let own = input.kind.key, !own.contains(name.value) {
                findings.append(
                    Diagnostic(
                        .error, "key-column",
                        "`\(name.value)` is not in the key of the upsert stream (\(own.joined(separator: ", "))): a row could be let through and its delete not",
                        at: name.mark, length: length))
            }
            key.append(index)
        }
        try findings.throwErrors()
        return key
    }

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        _ = try key(config, inputs[0])
        return [inputs[0]]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard let key = try? key(config, inputs[0]) else { return [.all] }
        let input = inputs[0]
        return [downstream.union(key.map { input.schema.fields[$0].name } + [input.eventTime].compactMap { $0 })]
    }

    private let context: OperatorContext
    private let key: [Int]
    private let seed: UInt64
    /// Hashes up to this go on.
    private let highest: UInt64

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        do throws(ConfigError) { key = try Sample.key(config, context.inputs[0]) } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
        seed = RowHash.hash(UInt64(bitPattern: Int64(config.seed)))
        // 2^64 times the rate, less one; at rate 1 the product does not fit.
        highest = UInt64(exactly: (config.rate * 0x1p64).rounded(.up)).map { $0 - 1 } ?? .max
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let hashes = RowHash.hashes(key.map { batch.columns[$0] }, count: batch.rowCount)
        // Hashed again: exchanges spread rows by the low bits of the first hash.
        let chosen = hashes.withUnsafeBufferPointer { hashes in
            Bitmap(count: hashes.count) { RowHash.hash(hashes[$0] ^ seed) <= highest }
        }
        let passed = chosen.setCount
        context.counters.add(passed: passed, filtered: batch.rowCount - passed)
        if passed > 0 { output.emit(batch.filter(chosen)) }
        return .done
    }
}

/// `sample`.
public enum SamplePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Sample.self)]
}
