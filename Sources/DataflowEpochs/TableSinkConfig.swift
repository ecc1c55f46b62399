public import DataflowOperator
import Logging

/// Whether a sink makes a table that is not there.
public enum TableCreation: String, ConfigEnum {
    case ifMissing = "if_missing"
    case never
}

/// What becomes of rows that stand in a table when a new history of checkpoints begins.
public enum ExistingRows: String, ConfigEnum {
    case keep, delete, refuse
}

/// What sinks into tables have in common in their settings.
package protocol TableSinkConfig: OperatorConfig {
    var key: [String] { get set }
    var create: TableCreation { get set }
    var existingRows: ExistingRows { get set }
    var commitsTable: String { get set }
    var linger: Duration { get set }
    /// Why a text cannot be the name of a table, nil if it can.
    static func problem(ofTable name: String) -> String?
}

extension TableSinkConfig {
    /// For fields whose time must be longer than none.
    package static var positive: @Sendable (Duration) -> String? { { $0 > .zero ? nil : "must be longer than 0s" } }

    /// `key`, `create`, `existing_rows`, `commits_table` and `linger`, for the operator's schema.
    package static var tableFields: [ConfigField<Self>] {
        [
            ConfigField(
                "key", \.key,
                """
                Columns that identify a row: a later row replaces the earlier one with the same key. Behind an upsert stream \
                it must be the stream's key; behind an append stream it may be left out, then every row is added.
                """, examples: [["country"]]),
            ConfigField(
                "create", \.create,
                """
                `if_missing`: what is missing is created, a table from the stream's schema, with a unique key where there is a \
                `key`. `never`: it must be there. A table that is there is checked against the stream in either case.
                """),
            ConfigField(
                "existing_rows", \.existingRows, .advanced,
                """
                What becomes of the table's rows at a start without checkpoint. `keep`: they stay, an upsert replaces those \
                whose keys it writes. `delete`: they are deleted in the transaction of the first epoch, so that readers see \
                the old rows or the new ones. `refuse`: the run ends with an error if there are any.
                """),
            ConfigField(
                "commits_table", \.commitsTable, .advanced,
                "The table that holds one row a sink: the last epoch that was committed. Created if it is missing."
            ) { problem(ofTable: $0) },
            ConfigField(
                "linger", \.linger, .advanced,
                "With `at_least_once`: the longest time that a row waits for others before it is committed.",
                check: positive),
        ]
    }

    /// What is wrong with the key on its own: for `validate()`.
    package var keyFindings: [Diagnostic] {
        key.enumerated().filter { key[..<$0.offset].contains($0.element) }
            .map { .error(field: "key", "`key` names the column \($0.element) twice") }
    }

    /// What is wrong with the key, seen from the input.
    package func keyFindings(_ input: Stream) -> [Diagnostic] {
        let names = input.schema.names
        var found: [Diagnostic] = key.filter { !names.contains($0) }.map { column in
            .error(
                field: "key", code: "unknown-column",
                "the stream has no column `\(column)`\(Suggestion.phrase(for: column, among: names))",
                hint: "its columns are \(names.joined(separator: ", "))")
        }
        guard let wanted = input.kind.key else { return found }
        let list = "[\(wanted.joined(separator: ", "))]"
        if key.isEmpty {
            found.append(
                .error(
                    code: "missing-key", "the stream replaces rows by \(list); the table needs the same key",
                    hint: "add `key: \(list)`"))
        } else if Set(key) != Set(wanted) {
            found.append(
                .error(
                    field: "key", code: "key-mismatch",
                    "the stream replaces rows by \(list); the table needs the same key, found "
                        + "[\(key.joined(separator: ", "))]", hint: "write `key: \(list)`"))
        }
        return found
    }
}

extension ExistingRows {
    /// A new history begins with rows in the table that are not its own.
    ///
    /// - Returns: whether the first commit is to delete them.
    package func meet(in table: String, _ context: OperatorContext) throws(OperatorError) -> Bool {
        switch self {
        case .keep:
            context.logger.notice(
                "table \(table) holds rows already and this run starts new: they stay",
                metadata: ["existing_rows": "keep"])
            return false
        case .delete:
            context.logger.notice("table \(table) holds rows already: the first commit replaces them")
            return true
        case .refuse:
            throw OperatorError(
                .user, .never, "table_not_empty",
                "table \(table) holds rows already and this run starts new, which `existing_rows: refuse` forbids")
        }
    }
}

extension OperatorError {
    /// `create: never`, and there is no table.
    package static func tableMissing(_ table: String, create statement: String) -> OperatorError {
        OperatorError(
            .user, .never, "table_missing",
            "there is no table \(table) and `create: never` is set; create it: \(statement)")
    }

    /// The table that is there cannot take the stream's rows.
    package static func tableMismatch(_ table: String, _ problems: [String]) -> OperatorError {
        OperatorError(
            .user, .never, "table_mismatch",
            "table \(table) does not fit the stream:" + problems.map { "\n  - \($0)" }.joined())
    }
}
