import DataflowColumnar
import DataflowPostgres

/// What the server knows of the target table, read once at open; and the check that the stream fits.
struct PgCatalog {
    struct ColumnInfo {
        var name: String
        var type: PgCatalogType
        /// As the server writes it: `character varying(20)`.
        var formattedType: String
        var isNotNull: Bool
        var hasDefault: Bool
        /// `generated always as …`, or an identity that is `generated always`.
        var isGenerated: Bool
        /// The type as an element of an array; nil where it has no arrays.
        var elementType: PgElementType?
    }

    struct UniqueIndex {
        var name: String
        var columns: [String]
        var nullsNotDistinct: Bool
    }

    var columns: [ColumnInfo]
    var indexes: [UniqueIndex]

    /// How a table of the stream is to be filled, or everything that is in the way.
    enum Fit {
        case fits([PgColumn])
        case mismatch([String])
    }

    /// Whether a relation is there that rows can be written to; nil if there is none of that name.
    static func oid(of table: PgName, _ connection: PgConnection) throws(PgFailure) -> Int64? {
        try connection.query("select to_regclass($1)::oid::int8", [table.sql]).integer(0, 0)
    }

    /// Reads columns and unique indexes of the relation.
    static func read(_ oid: Int64, _ connection: PgConnection) throws(PgFailure) -> PgCatalog {
        let attributes = try connection.query(
            """
            select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef,
                   a.attgenerated <> '' or a.attidentity = 'a', b.typname, b.typtype = 'e',
                   e.oid::int8, e.typname, e.typtype = 'e', a.attidentity <> '' or t.typdefault is not null,
                   format_type(a.atttypid, -1), case when t.typarray <> 0 then t.oid::int8 end
            from pg_catalog.pg_attribute a
            join pg_catalog.pg_type t on t.oid = a.atttypid
            join pg_catalog.pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
            left join pg_catalog.pg_type e on e.oid = b.typelem and b.typcategory = 'A'
            where a.attrelid = $1::int8::oid and a.attnum > 0 and not a.attisdropped
            order by a.attnum
            """, [String(oid)])
        var columns: [ColumnInfo] = []
        for row in 0..<attributes.rowCount {
            var type = PgCatalogType(name: attributes[row, 5] ?? "", isEnum: attributes.flag(row, 6))
            if let element = attributes.integer(row, 7) {
                type.element = PgCatalogType.Element(
                    oid: UInt32(truncatingIfNeeded: element),
                    type: PgCatalogType(name: attributes[row, 8] ?? "", isEnum: attributes.flag(row, 9)))
            }
            columns.append(
                ColumnInfo(
                    name: attributes[row, 0] ?? "", type: type, formattedType: attributes[row, 1] ?? "",
                    isNotNull: attributes.flag(row, 2),
                    hasDefault: attributes.flag(row, 3) || attributes.flag(row, 10),
                    isGenerated: attributes.flag(row, 4),
                    elementType: attributes.integer(row, 12).map {
                        PgElementType(name: attributes[row, 11] ?? "", oid: UInt32(truncatingIfNeeded: $0))
                    }))
        }
        // Only what `on conflict (columns)` can infer: whole, immediate, without expressions.
        let nullsNotDistinct = connection.serverVersion >= 150_000 ? "i.indnullsnotdistinct" : "false"
        let keys = try connection.query(
            """
            select i.indexrelid::regclass::text, \(nullsNotDistinct), a.attname
            from pg_catalog.pg_index i
            cross join lateral unnest(i.indkey::int2[]) with ordinality k(attnum, position)
            join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where i.indrelid = $1::int8::oid and i.indisunique and i.indimmediate and i.indisvalid
              and i.indpred is null and i.indexprs is null and k.position <= i.indnkeyatts
            order by i.indexrelid, k.position
            """, [String(oid)])
        var indexes: [UniqueIndex] = []
        for row in 0..<keys.rowCount {
            let name = keys[row, 0] ?? ""
            let column = keys[row, 2] ?? ""
            if indexes.last?.name == name {
                indexes[indexes.count - 1].columns.append(column)
            } else {
                indexes.append(UniqueIndex(name: name, columns: [column], nullsNotDistinct: keys.flag(row, 1)))
            }
        }
        return PgCatalog(columns: columns, indexes: indexes)
    }

    /// Finds for every column of the stream how it is written; the key's columns come first.
    func fit(_ table: PgName, fields: [Field], key: [String]) -> Fit {
        var problems: [String] = []
        var fitted: [PgColumn] = []
        for (source, field) in fields.enumerated() {
            guard let column = columns.first(where: { $0.name == field.name }) else {
                let alike = columns.first { $0.name.lowercased() == field.name.lowercased() }
                problems.append(
                    "column \(field.name) is missing"
                        + (alike.map { " (there is one named \($0.name))" } ?? "")
                        + "; add it: alter table \(table.sql) add column \(PgName.quote(field.name)) "
                        + PgTypeMapping.sqlType(of: field.type))
                continue
            }
            if column.isGenerated {
                problems.append("column \(field.name) is generated by the server, so nothing can be written to it")
            } else if let format = PgTypeMapping.format(of: field.type, into: column.type) {
                var target = PgColumn(
                    name: field.name, source: source, type: field.type, format: format,
                    isKey: key.contains(field.name))
                target.elementType = column.elementType
                fitted.append(target)
            } else {
                problems.append(
                    "column \(field.name) is \(column.formattedType); the stream has \(field.type), which needs "
                        + PgTypeMapping.acceptedTypes(for: field.type))
            }
        }
        for column in columns where column.isNotNull && !column.hasDefault && !column.isGenerated {
            if !fields.contains(where: { $0.name == column.name }) {
                problems.append(
                    "column \(column.name) is not null and has no default, and the stream has no such column")
            }
        }
        if !key.isEmpty, let problem = keyProblem(table, fields: fields, key: key) { problems.append(problem) }
        if !problems.isEmpty { return .mismatch(problems) }
        return .fits(fitted.filter(\.isKey) + fitted.filter { !$0.isKey })
    }

    private func keyProblem(_ table: PgName, fields: [Field], key: [String]) -> String? {
        let sameColumns = indexes.filter { Set($0.columns) == Set(key) }
        let nullable = fields.contains { key.contains($0.name) && $0.nullable }
        let columnsAreNotNull = columns.allSatisfy { !key.contains($0.name) || $0.isNotNull }
        if sameColumns.contains(where: { !nullable || $0.nullsNotDistinct || columnsAreNotNull }) { return nil }
        let list = key.map(PgName.quote).joined(separator: ", ")
        let create =
            "create unique index on \(table.sql) (\(list))\(nullable && !columnsAreNotNull ? " nulls not distinct" : "")"
        if let index = sameColumns.first {
            return
                "the key (\(key.joined(separator: ", "))) can be null in the stream, and index \(index.name) "
                + "lets null keys in more than once; create another one: \(create)"
        }
        return "no unique index on the key (\(key.joined(separator: ", "))); create it: \(create)"
    }
}
