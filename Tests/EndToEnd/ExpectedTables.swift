import Foundation
import Synchronization

/// The seven tables as SQL alone computes them, in a database that serves as template for those of the tests.
///
/// They are computed once for each number of rows.
package final class ExpectedTables {
    private static let made = Mutex<[Int: ExpectedTables]>([:])

    private let database: TestDatabase

    /// A database with the schema `expected` for the first `rows` rows.
    package static func database(rows: Int, on server: TestServer) throws -> TestDatabase {
        let template = try made.withLock { made in
            let expected = try made[rows] ?? ExpectedTables(rows: rows, on: server)
            made[rows] = expected
            return expected.database.name
        }
        return try TestDatabase(server, template: template)
    }

    private init(rows: Int, on server: TestServer) throws {
        database = try TestDatabase(server)
        try ExpectedTables.compute(rows: rows, in: database)
    }

    /// Makes the schema `expected` in `database`, from the pages of a stand-in without faults.
    package static func compute(rows: Int, in database: TestDatabase) throws {
        let api = try StandInAPI(rows: rows)
        let folder = try TemporaryFolder()
        let path = folder.path + "/pages.ndjson"
        guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
        else {
            throw ChildProcess.Failure(description: "cannot write \(path)")
        }
        for offset in stride(from: 0, to: rows, by: 100) {
            try file.write(contentsOf: api.page(offset) + Data("\n".utf8))
        }
        try file.close()
        try database.query("create schema expected; create unlogged table expected.pages (page jsonb)")
        // CSV with a quote and a delimiter that occur nowhere takes each line as it is.
        try database.query(#"\copy expected.pages from '\#(path)' csv quote e'\x01' delimiter e'\x02'"#)
        try database.run(file: "openfood-expected.sql")
        try database.query("drop table expected.pages, expected.products")
    }
}
