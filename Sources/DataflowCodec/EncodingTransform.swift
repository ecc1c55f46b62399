package import DataflowConfig
package import DataflowOperator

/// The settings of a node that writes messages.
package protocol EncodingConfig: OperatorConfig {
    /// The operator's name, for messages of ours.
    static var operatorName: String { get }
    var columns: [Located<String>]? { get set }
    var keep: [Located<String>] { get set }
    var name: Located<String> { get set }
}

extension EncodingConfig {
    /// `keep` and `as`, for the operator's schema.
    package static var outputFields: [ConfigField<Self>] {
        [
            ConfigField(
                "keep", \.keep,
                "Columns that go on beside the message, such as its key. Of an upsert stream its key must be among them."
            ),
            ConfigField("as", \.name, "The name of the bytes column that holds the message."),
        ]
    }

    /// What the settings have in common with other encoders'.
    package var encoding: EncodeSettings {
        EncodeSettings(operatorName: Self.operatorName, columns: columns, keep: keep, name: name)
    }
}

/// A transform that writes each row as a message into a bytes column.
package protocol EncodingTransform: Transform where Config: EncodingConfig {}

extension EncodingTransform {
    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try config.encoding.output(of: inputs)]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        config.encoding.columnsUsed(inputs[0], downstream: downstream)
    }
}
