import DataflowColumnar
import DataflowOperator

/// The position of the source as a checkpoint keeps it: one row.
struct HTTPSourceState: Equatable {
    var position: Paginator.Position
    var end: Paginator.End?
    var pageCount: Int64
    /// The rate limiter's.
    var nextRequest: KeptMoment?
    var nextRound: KeptMoment?
    var revision: String?
    var validators: Validators

    static let tableName = "position"
    private static let version: UInt32 = 2
    private static let schema = Schema([
        Field("split", .string, nullable: false), Field("kind", .string, nullable: false), Field("number", .int64),
        Field("text", .string), Field("end", .string), Field("pages", .int64, nullable: false),
        Field("next_request", .timestamp), Field("next_request_ahead", .int64), Field("next_round", .timestamp),
        Field("next_round_ahead", .int64), Field("revision", .string), Field("etag", .string),
        Field("last_modified", .string),
    ])

    /// The state as a table of one row.
    var table: StateTable {
        let (kind, number, text): (String, Value, Value) =
            switch position {
            case .start: ("start", .null, .null)
            case .offset(let offset): ("offset", .int(offset), .null)
            case .page(let page): ("page", .int(page), .null)
            case .cursor(let cursor): ("cursor", .null, .string(cursor))
            case .link(let link): ("link", .null, .string(link))
            }
        func value(_ text: String?) -> Value { text.map { .string($0) } ?? .null }
        func values(_ kept: KeptMoment?) -> [Value] {
            kept.map { [.timestamp($0.moment.microseconds), .int($0.ahead.wholeMicroseconds)] } ?? [.null, .null]
        }
        let row: [Value] =
            ["pages", .string(kind), number, text, value(end?.rawValue), .int(pageCount)]
            + values(nextRequest) + values(nextRound)
            + [value(revision), value(validators.entityTag), value(validators.lastModified)]
        return StateTable(
            HTTPSourceState.tableName, version: HTTPSourceState.version, distribution: .split(column: 0),
            [RecordBatch(HTTPSourceState.schema, rows: [row])])
    }

    /// Nil for a new start.
    ///
    /// - Throws: when the table is not of this form, or of a later version.
    init?(_ snapshot: StateSnapshot) throws(OperatorError) {
        guard let table = snapshot[HTTPSourceState.tableName], let batch = table.batches.first, batch.rowCount > 0
        else {
            return nil
        }
        guard table.version == HTTPSourceState.version, batch.schema == HTTPSourceState.schema else {
            throw OperatorError(
                .user, .never, "state_version",
                "the checkpoint's position of http-source has version \(table.version), this build reads "
                    + "version \(HTTPSourceState.version); use the build that wrote it, or `--restore none` to read from the start"
            )
        }
        let row = batch.rows[0]
        func text(_ column: Int) -> String? { if case .string(let text) = row[column] { text } else { nil } }
        func number(_ column: Int) -> Int64? { if case .int(let number) = row[column] { number } else { nil } }
        func moment(_ column: Int) -> KeptMoment? {
            guard case .timestamp(let at) = row[column], let ahead = number(column + 1) else { return nil }
            return KeptMoment(Moment(microseconds: at), ahead: .microseconds(ahead))
        }
        switch (text(1), number(2), text(3)) {
        case ("offset", let offset?, _): position = .offset(offset)
        case ("page", let page?, _): position = .page(page)
        case ("cursor", _, let cursor?): position = .cursor(cursor)
        case ("link", _, let link?): position = .link(link)
        default: position = .start
        }
        end = text(4).flatMap(Paginator.End.init(rawValue:))
        pageCount = number(5) ?? 0
        nextRequest = moment(6)
        nextRound = moment(8)
        revision = text(10)
        validators = Validators(entityTag: text(11), lastModified: text(12))
    }

    init(
        position: Paginator.Position, end: Paginator.End?, pageCount: Int64, nextRequest: KeptMoment?,
        nextRound: KeptMoment?, revision: String?, validators: Validators
    ) {
        self.position = position
        self.end = end
        self.pageCount = pageCount
        self.nextRequest = nextRequest
        self.nextRound = nextRound
        self.revision = revision
        self.validators = validators
    }
}
