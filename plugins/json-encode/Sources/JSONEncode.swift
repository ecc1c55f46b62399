public import DataflowCodec
public import DataflowOperator
import DataflowText

/// Settings of `json-encode`.
public struct JSONEncodeConfig: EncodingConfig {
    public var columns: [Located<String>]?
    public var keep: [Located<String>] = []
    public var name: Located<String> = "value"

    package static let operatorName = "json-encode"

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("columns", \.columns, "The columns that become fields of the object, in this order. Default: all.")
        outputFields
    }
}

/// `json-encode`: rows to JSON objects in a bytes column, as file-sink and stdout-sink write them.
public final class JSONEncode: EncodingTransform {
    public typealias Config = JSONEncodeConfig

    public static let info = OperatorInfo(
        "json-encode", .transform, "Writes each row as a JSON object into a bytes column.")

    private let rows: EncodedRows
    private let writer: JSONRows

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        rows = try EncodedRows(config.encoding, context)
        writer = JSONRows(rows.message)
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let columns = rows.messageColumns(batch)
        writer.prepare(columns)
        rows.encode(columns, of: batch, into: &output) { row, text in
            writer.write(row, into: &text)
            return nil
        }
        return .done
    }
}

/// `json-encode`.
public enum JSONEncodePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(JSONEncode.self)]
}
