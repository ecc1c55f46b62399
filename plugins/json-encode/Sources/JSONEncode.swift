import DataflowCodec
public import DataflowOperator
import DataflowText

/// Settings of `json-encode`.
public struct JSONEncodeConfig: OperatorConfig {
    public var columns: [Located<String>]?
    public var keep: [Located<String>] = []
    public var name: Located<String> = "value"

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("columns", \.columns, "The columns that become fields of the object, in this order. Default: all.")
        ConfigField(
            "keep", \.keep,
            "Columns that go on beside the text, such as a message's key. Of an upsert stream its key must be among them."
        )
        ConfigField("as", \.name, "The name of the bytes column that holds the text.")
    }

    var encoding: EncodeSettings {
        EncodeSettings(operatorName: "json-encode", columns: columns, keep: keep, name: name)
    }
}

/// `json-encode`: rows to JSON objects in a bytes column, as file-sink and stdout-sink write them.
public final class JSONEncode: Transform {
    public typealias Config = JSONEncodeConfig

    public static let info = OperatorInfo(
        "json-encode", .transform, "Writes each row as a JSON object into a bytes column.")

    private let context: OperatorContext
    private let rows: EncodedRows
    private let writer: JSONRows
    private var text = TextBuffer()

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try config.encoding.output(of: inputs)]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        config.encoding.columnsUsed(inputs[0], downstream: downstream)
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        rows = try EncodedRows(config.encoding, context)
        writer = JSONRows(rows.message)
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        writer.prepare(rows.messageColumns(batch))
        var builder = ViewBuilder(capacity: batch.rowCount)
        for row in 0..<batch.rowCount {
            if let deletes = batch.deletes, deletes[row] {
                builder.appendNull()
                continue
            }
            text.removeAll()
            writer.write(row, into: &text)
            text.withUnsafeBytes { builder.append($0) }
        }
        context.counters.add(passed: batch.rowCount)
        output.emit(rows.rows(builder.finish(.bytes), of: batch))
        return .done
    }
}

/// `json-encode`.
public enum JSONEncodePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(JSONEncode.self)]
}
