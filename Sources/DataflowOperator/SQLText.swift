public import DataflowColumnar
public import DataflowConfig
public import DataflowExpression

/// A language that a setting can hold: expressions, aggregate calls, orders, types.
public protocol SQLParsable: Sendable {
    /// What it is, for messages and the reference pages, e.g. `expression`.
    static var sqlName: String { get }
    /// Reads the text; errors carry UTF-8 offsets in it.
    static func parse(_ text: String) throws(ExpressionErrors) -> Self
}

extension Expression: SQLParsable { public static var sqlName: String { "expression" } }
extension AggregateCall: SQLParsable { public static var sqlName: String { "aggregate" } }
extension OrderItem: SQLParsable { public static var sqlName: String { "order" } }
extension DataType: SQLParsable { public static var sqlName: String { "type" } }

/// A setting that holds a piece of SQL: parsed when the file is read, with every error at its place in the file.
///
/// Interpolated values (`${VAR}`) become literals, never SQL text.
public struct SQLText<Parsed: SQLParsable>: ConfigValue {
    public let parsed: Parsed
    /// The text and where its characters stand.
    public let text: PositionedText

    /// SQL that stands in no file: defaults and tests.
    public init(_ text: String) throws(ExpressionErrors) {
        parsed = try Parsed.parse(text)
        self.text = PositionedText(text)
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        guard let scalar = node.scalar, !node.isNull else {
            throw .expected("an \(Parsed.sqlName)", found: node)
        }
        let text = PositionedText(sql: scalar, mark: node.mark)
        self.text = text
        do throws(ExpressionErrors) { parsed = try Parsed.parse(text.text) } catch {
            throw SQLText.placed(error, in: text)
        }
    }

    /// Errors found later (unknown columns, types), at their places in the file.
    public func placed(_ errors: ExpressionErrors) -> ConfigError { SQLText.placed(errors, in: text) }

    private static func placed(_ errors: ExpressionErrors, in text: PositionedText) -> ConfigError {
        ConfigError(
            errors.errors.map { error in
                Diagnostic(
                    .error, Parsed.sqlName, error.message, at: text.mark(atUTF8Offset: error.offset),
                    length: error.length, hint: error.hint)
            })
    }

    public static var typeName: String { Parsed.sqlName }
    public static var jsonSchema: JSONSchema { JSONSchema(["type": ["string", "number", "boolean"]]) }
    public var encoded: ConfigNode { .text(text.text) }
}

/// An expression over columns: `lower(name)`.
public typealias ExpressionText = SQLText<Expression>
/// An aggregate over rows: `sum(price) filter (where price > 0)`.
public typealias AggregateText = SQLText<AggregateCall>
/// One term of an order: `sugar desc`.
public typealias OrderText = SQLText<OrderItem>
/// A column's type: `list<struct<lang string, text string>>`.
public typealias TypeText = SQLText<DataType>
