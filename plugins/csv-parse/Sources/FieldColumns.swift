import DataflowColumnar
import DataflowExpression
import DataflowFiles
import DataflowOperator

/// Columns of their types from the fields of records.
final class FieldColumns {
    struct Plan {
        var name: String
        var field: String
        var type: DataType
        /// An empty field fails its row.
        var isRequired: Bool
        /// A text that is no value of the type becomes null instead of failing its row.
        var nullOnMismatch: Bool
        /// False where nothing reads the column: it is not built, and only looked at when it is required.
        var isUsed: Bool
    }

    private static let textSchema = Schema([Field("value", .string)])
    private static let bytesSchema = Schema([Field("value", .bytes)])

    private let plans: [Plan]
    /// The place of each column's field among ``wanted``; nil for columns that are not looked at.
    private let places: [Int?]
    /// The casts; nil for bytes.
    private let casts: [CompiledExpression?]
    /// The fields that are needed.
    let wanted: [String]

    init(_ plans: [Plan]) throws(OperatorError) {
        self.plans = plans
        var wanted: [String] = []
        var places: [Int?] = []
        var casts: [CompiledExpression?] = []
        for plan in plans {
            guard plan.isUsed || plan.isRequired else {
                places.append(nil)
                casts.append(nil)
                continue
            }
            places.append(wanted.count)
            wanted.append(plan.field)
            if plan.type == .bytes {
                casts.append(nil)
                continue
            }
            // Fields are bytes: as text they have to be UTF-8, which the cast from bytes checks.
            let schema = plan.type == .string ? FieldColumns.bytesSchema : FieldColumns.textSchema
            let function = plan.nullOnMismatch ? "try_cast" : "cast"
            do throws(ExpressionErrors) {
                casts.append(try Expression.compile("\(function)(value as \(plan.type))", schema: schema))
            } catch {
                throw OperatorError(
                    .engine, .never, "bad_plan", "no text can be read as \(plan.type): \(error.description)")
            }
        }
        self.wanted = wanted
        self.places = places
        self.casts = casts
    }

    /// The columns of all records read so far, and the records that have no value for one of them. O(fields).
    func build(
        _ fields: RecordFields, _ views: UnsafeViews, _ storage: ViewStorage
    ) -> (columns: [Column?], failed: RowErrors) {
        var failed = RowErrors(rowCount: fields.count)
        var columns: [Column?] = []
        for (number, plan) in plans.enumerated() {
            guard let place = places[number] else {
                columns.append(nil)
                continue
            }
            let isText = plan.type == .string || plan.type == .bytes
            var column = self.text(place, fields, views, storage, as: isText ? .bytes : .string)
            if let cast = casts[number] {
                let schema = isText ? FieldColumns.bytesSchema : FieldColumns.textSchema
                let (values, errors) = cast.evaluate(RecordBatch(schema, [column], rowCount: fields.count))
                for (row, error) in errors.rows {
                    failed.insert(RowError(error.code, "column \(plan.name): \(error.message)"), at: row)
                }
                column = values
            }
            if plan.isRequired, let validity = column.validity {
                for row in (~validity).setIndices.array {
                    failed.insert(
                        RowError(.missingValue, "column \(plan.name) is required, but the field is empty"),
                        at: Int(row))
                }
                // Rows without a value are failed, so what is left has one each.
                column = column.withValidity(nil)
            }
            columns.append(plan.isUsed ? column : nil)
        }
        return (columns, failed)
    }

    /// One field of every record as text that stays where it is.
    private func text(
        _ place: Int, _ fields: RecordFields, _ views: UnsafeViews, _ storage: ViewStorage, as type: DataType
    ) -> Column {
        var builder = ViewBuilder(capacity: fields.count)
        for buffer in storage.buffers { _ = builder.adopt(buffer) }
        let width = fields.fieldCount
        fields.spans.withUnsafeBufferPointer { spans in
            fields.messages.withUnsafeBufferPointer { messages in
                for row in 0..<messages.count {
                    let message = Int(messages[row])
                    let span = spans[row * width + place]
                    let bytes = views.bytes(message)
                    let text = UnsafeRawBufferPointer(rebasing: bytes[span.range])
                    if span.isNull {
                        builder.appendNull()
                    } else if span.escaped {
                        CSVRecord.unescape(text).withUnsafeBytes { builder.append($0) }
                    } else {
                        let view = views[message]
                        builder.append(
                            text, inBuffer: Int32(truncatingIfNeeded: view.isInline ? 0 : view.bufferIndex),
                            offset: view.isInline ? 0 : view.offset + span.range.lowerBound)
                    }
                }
            }
        }
        return builder.finish(type)
    }
}
