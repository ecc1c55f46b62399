public import DataflowOperator

/// Settings of `explode`.
public struct ExplodeConfig: OperatorConfig {
    public var column: Located<String> = ""
    public var name: Located<String>?
    public var position: Located<String>?
    public var outer = false

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("column", \.column, .required, "The list column; each of its elements becomes a row.")
        ConfigField("as", \.name, "What the element's column is called. Default: the name of the list column.")
        ConfigField("position", \.position, "Adds a column of this name with the element's place in its list, from 0.")
        ConfigField(
            "outer", \.outer, "Whether a row whose list is null or empty gives one row with a null element, or none.")
    }
}

/// One row for each element of a list; the other columns are repeated.
public final class Explode: Transform {
    public typealias Config = ExplodeConfig

    public static let info = OperatorInfo("explode", .transform, "Turns the elements of a list into rows.")

    private let column: Int
    private let position: Bool
    private let outer: Bool
    private let context: OperatorContext
    private let schema: Schema

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let input = inputs[0]
        let column = config.column
        guard let index = input.schema.index(of: column.value) else {
            throw ConfigError(
                "unknown-column", "there is no column `\(column.value)`", at: column.mark, length: column.value.count,
                hint: Suggestion.nearest(to: column.value, among: input.schema.names).map { "did you mean `\($0)`?" }
                    ?? "the input has \(input.schema.names.joined(separator: ", "))")
        }
        guard case .list(let element) = input.schema.fields[index].type else {
            throw ConfigError(
                "not-a-list", "`\(column.value)` is \(input.schema.fields[index].type), only a list can be exploded",
                at: column.mark, length: column.value.count)
        }
        guard case .append = input.kind else {
            throw ConfigError(
                "upsert-input",
                "explode takes an append stream: it could not take back the rows of a list that is replaced later",
                at: column.mark)
        }
        if input.eventTime == column.value {
            throw ConfigError("event-time", "the event time column cannot be exploded", at: column.mark)
        }
        var fields = input.schema.fields
        let name = config.name?.value ?? column.value
        fields[index] = Field(name, element)
        if let position = config.position { fields.append(Field(position.value, .int64, nullable: config.outer)) }
        for place in [config.name, config.position].compactMap({ $0 })
        where fields.filter({ $0.name == place.value }).count > 1 {
            throw ConfigError(
                "duplicate-column", "the input already has a column `\(place.value)`", at: place.mark,
                length: place.value.count)
        }
        return [Stream(Schema(fields), eventTime: input.eventTime)]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard case .some(var names) = downstream else { return [.all] }
        names.remove(config.name?.value ?? config.column.value)
        if let position = config.position { names.remove(position.value) }
        names.insert(config.column.value)
        if let eventTime = inputs[0].eventTime { names.insert(eventTime) }
        return [.some(names)]
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        guard let schema = context.outputs.first?.schema,
            let index = context.inputs.first?.schema.index(of: config.column.value)
        else { throw OperatorError(.engine, .never, "bad_plan", "explode was built without its streams") }
        column = index
        position = config.position != nil
        outer = config.outer
        self.context = context
        self.schema = schema
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        guard let (offsets, elements) = batch.columns[column].listValues else { return .done }
        context.counters.add(passed: batch.rowCount)
        let list = batch.columns[column]
        // Which input row, element and place each output row has; element -1 is the null of `outer`.
        var parents: [Int32] = []
        var taken: [Int32] = []
        var places: [Int64] = []
        var anyMissing = false
        parents.reserveCapacity(elements.count)
        taken.reserveCapacity(elements.count)
        for row in 0..<batch.rowCount {
            let range = list.isNull(row) ? 0..<0 : offsets[row]..<offsets[row + 1]
            if range.isEmpty {
                guard outer else { continue }
                parents.append(Int32(truncatingIfNeeded: row))
                taken.append(-1)
                if position { places.append(-1) }
                anyMissing = true
                continue
            }
            for element in range {
                parents.append(Int32(truncatingIfNeeded: row))
                taken.append(element)
                if position { places.append(Int64(element - range.lowerBound)) }
            }
        }
        guard !parents.isEmpty else { return .done }
        let parentIndices = Values(parents)
        let present = anyMissing ? Bitmap(count: taken.count) { taken[$0] >= 0 } : nil
        let elementColumn: Column
        if anyMissing && elements.count == 0 {
            elementColumn = .nulls(elements.type, count: taken.count)
        } else if anyMissing {
            let found = elements.take(Values(taken.map { max($0, 0) }))
            elementColumn = found.withValidity(Bitmap.bothValid(found.validity, present))
        } else {
            elementColumn = elements.take(Values(taken))
        }
        var columns: [Column] = []
        for index in batch.columns.indices {
            let name = schema.fields[index].name
            if index == column {
                columns.append(elementColumn)
            } else if context.usedColumns.contains(name) || name == context.outputs.first?.eventTime {
                columns.append(batch.columns[index].take(parentIndices))
            } else {
                columns.append(.nulls(schema.fields[index].type, count: parents.count))
            }
        }
        if position { columns.append(Column(.int64, .int64(Values(places)), validity: present)) }
        emit(columns, batch, parentIndices, into: &output)
        return .done
    }

    /// Sends the rows on in batches of the usual size.
    private func emit(
        _ columns: [Column], _ batch: RecordBatch, _ parents: Values<Int32>, into output: inout OutputBuffer
    ) {
        let whole = RecordBatch(
            schema, columns, rowCount: parents.count, splitWatermark: batch.splitWatermark?.take(parents),
            split: batch.split)
        var start = 0
        while start < whole.rowCount {
            let end = min(start + RecordBatch.defaultRowCount, whole.rowCount)
            output.emit(whole.slice(start..<end))
            start = end
        }
    }
}

/// `explode`.
public enum ExplodePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Explode.self)]
}
