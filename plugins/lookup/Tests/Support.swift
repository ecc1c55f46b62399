import DataflowConfig
import DataflowOperator
import DataflowTesting
import Glibc

@testable import Lookup

let orders = Schema([Field("id", .int64), Field("country", .string), Field("amount", .int64)])

func batch(_ rows: [[Value]]) -> RecordBatch { RecordBatch(orders, rows: rows) }

let someOrders = batch([[1, "de", 10], [2, "xx", 20], [3, nil, 30], [4, "fr", 40]])

/// A file of a test, in a folder that goes with it.
final class TableFile {
    let folder: TemporaryDirectory
    var path: String { "\(folder.path)/countries.csv" }

    init(_ text: String = TableFile.countries) throws {
        folder = try TemporaryDirectory()
        write(text)
    }

    static let countries =
        "code,name,vat\nde,Germany,19.00\nfr,\"France, la \"\"douce\"\"\",20.00\nch,Switzerland,8.10\n"

    /// Replaces the file as a whole.
    func write(_ text: String) { write(bytes: Array(text.utf8)) }

    func write(bytes: [UInt8]) {
        guard let file = fopen("\(path).new", "w") else { return }
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
        rename("\(path).new", path)
    }

    /// Settings over this file: `code` is the key, `name` and `vat` are added.
    func config(_ change: [(String, ConfigNode)] = []) throws -> LookupConfig {
        let csv = ConfigNode.mapping([
            ("path", .text(path)),
            (
                "columns",
                .mapping([("code", .text("string")), ("name", .text("string")), ("vat", .text("decimal(4,2)"))])
            ),
        ])
        var entries: [(String, ConfigNode)] = [
            ("csv", csv), ("on", .mapping([("country", .text("code"))])),
            ("columns", ConfigNode(.sequence([.text("name"), .text("vat")]))),
        ]
        for (key, node) in change {
            entries.removeAll { $0.0 == key }
            entries.append((key, node))
        }
        return try LookupConfig(decoding: .mapping(entries))
    }
}

/// A decimal(4,2).
func vat(_ hundredths: Int128) -> Value { .decimal(hundredths, scale: 2) }
