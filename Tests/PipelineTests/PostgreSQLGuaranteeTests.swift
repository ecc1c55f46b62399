import DataflowEndToEnd
import Foundation
import Testing

/// What the program does when the tables and the checkpoints do not belong together, and with rows that a table refuses.
@Suite struct PostgreSQLGuaranteeTests {
    /// What is behind the lines.
    enum Nodes: String, CaseIterable {
        /// Every line is a row of its own.
        case added
        /// The last line of a key is its row; nothing is ever deleted.
        case replaced
        /// The two keys with the greatest sums; the others are deleted.
        case best

        var text: String {
            let rows = """
                rows: { type: json-parse, from: lines, columns: { k: string, v: int64 } }

                """
            let sink = #"out: { type: pg-sink, connection: "${PG_URL}", table: t, "#
            return switch self {
            case .added: rows + sink + "from: rows }"
            case .replaced: rows + sink + "from: rows, key: [k] }"
            case .best:
                rows + """
                    sums: { type: window-agg, from: rows, window: global, group_by: { k: k }, aggregates: { total: sum(v) } }
                    best: { type: top-n, from: sums, order_by: [total desc], n: 2 }

                    """ + sink + "from: best, key: [k] }"
            }
        }

        /// With another setting of the sink.
        func with(_ setting: String) -> String {
            text.replacingOccurrences(of: "table: t", with: "table: t, \(setting)")
        }
    }

    private func row(_ key: String, _ value: Int) -> String { #"{"k":"\#(key)","v":\#(value)}"# }

    /// Two runs that ended, a checkpoint each.
    private func ranTwice(_ nodes: Nodes) throws -> SmallPipeline {
        let pipeline = try SmallPipeline(nodes.text)
        try pipeline.append(row("a", 1), row("b", 2))
        try pipeline.succeed()
        try pipeline.append(row("c", 3), row("a", 4))
        try pipeline.succeed()
        return pipeline
    }

    private func table(_ pipeline: SmallPipeline) throws -> [String] {
        try pipeline.database.query("select * from t order by 1, 2")
    }

    // MARK: The table is ahead

    @Test func `rows that are only added are not added twice by an older checkpoint, except with consent`() throws {
        let pipeline = try ranTwice(.added)
        let before = try table(pipeline)
        #expect(before == ["a|1", "a|4", "b|2", "c|3"])

        let refused = try pipeline.run("--restore", "1")
        #expect(refused.exit == .code(78))
        #expect(refused.errors.contains("table t is ahead of checkpoint 1"), "\(refused.errors)")
        #expect(refused.errors.contains("--restore ID --accept-duplicates"))
        #expect(try table(pipeline) == before)

        // A refusal leaves the newest checkpoint to be used.
        try pipeline.succeed()
        #expect(try table(pipeline) == before)

        try pipeline.succeed("--restore", "1", "--accept-duplicates")
        #expect(try table(pipeline) == ["a|1", "a|4", "a|4", "b|2", "c|3", "c|3"])
    }

    @Test func `an older checkpoint is taken where rows are replaced and never deleted`() throws {
        let pipeline = try ranTwice(.replaced)
        let again = try pipeline.succeed("--restore", "1")
        #expect(again.errors.contains("table t is ahead of the checkpoint: rows of later epochs are written again"))
        #expect(try table(pipeline) == ["a|4", "b|2", "c|3"])
    }

    @Test func `an older checkpoint is refused where rows are deleted, except with consent`() throws {
        let pipeline = try ranTwice(.best)
        #expect(try table(pipeline) == ["a|5", "c|3"])
        let refused = try pipeline.run("--restore", "1")
        #expect(refused.exit == .code(78))
        #expect(refused.errors.contains("--restore ID --accept-duplicates"), "\(refused.errors)")
        try pipeline.succeed("--restore", "1", "--accept-duplicates")
        #expect(try table(pipeline) == ["a|5", "c|3"])
    }

    // MARK: The table is behind or another one

    /// Each takes rows away that the checkpoint says are committed.
    private static let replacements = [
        "the marker is gone": "delete from dataflow_commits",
        "the marker's table is gone": "drop table dataflow_commits",
        "both tables are gone": "drop table dataflow_commits, t",
        "the database is an older copy": "update dataflow_commits set epoch = epoch - 1",
    ]

    @Test(arguments: Self.replacements.keys.sorted())
    func `a target that was replaced is refused until the user starts anew`(_ what: String) throws {
        let pipeline = try ranTwice(.replaced)
        try pipeline.database.query(Self.replacements[what] ?? "")
        for _ in 0..<2 {
            let refused = try pipeline.run()
            #expect(refused.exit == .code(78), "\(refused.errors)")
            #expect(refused.errors.contains("the target was replaced"), "\(refused.errors)")
            #expect(refused.errors.contains("--restore none"))
        }
        try pipeline.succeed("--restore", "none")
        #expect(try table(pipeline) == ["a|4", "b|2", "c|3"])
        try pipeline.succeed()
        #expect(try table(pipeline) == ["a|4", "b|2", "c|3"])
    }

    // MARK: The checkpoints are gone

    @Test func `without its checkpoints a pipeline starts anew and the table's rows stay`() throws {
        let pipeline = try ranTwice(.added)
        try FileManager.default.removeItem(atPath: pipeline.checkpoints)
        let anew = try pipeline.succeed()
        #expect(anew.errors.contains("starting anew"))
        #expect(anew.errors.contains("table t holds rows already and this run starts new: they stay"))
        #expect(try table(pipeline) == ["a|1", "a|1", "a|4", "a|4", "b|2", "b|2", "c|3", "c|3"])
    }

    @Test func `without its checkpoints a pipeline replaces the keys that it writes again, and keeps the others`()
        throws
    {
        let pipeline = try ranTwice(.replaced)
        try pipeline.database.query("insert into t values ('z', 26); update t set v = 0 where k = 'a'")
        try FileManager.default.removeItem(atPath: pipeline.checkpoints)
        try pipeline.succeed()
        #expect(try table(pipeline) == ["a|4", "b|2", "c|3", "z|26"])
    }

    @Test func `rows of before are deleted, or refused, where the file says so`() throws {
        let pipeline = try ranTwice(.replaced)
        try pipeline.database.query("insert into t values ('z', 26)")
        try FileManager.default.removeItem(atPath: pipeline.checkpoints)
        try pipeline.write(Nodes.replaced.with("existing_rows: refuse"))
        let refused = try pipeline.run()
        #expect(refused.exit == .code(78))
        #expect(refused.errors.contains("table t holds rows already"), "\(refused.errors)")
        #expect(try table(pipeline) == ["a|4", "b|2", "c|3", "z|26"])

        try pipeline.write(Nodes.replaced.with("existing_rows: delete"))
        try pipeline.succeed()
        #expect(try table(pipeline) == ["a|4", "b|2", "c|3"])
    }

    // MARK: Rows

    @Test func `a key that is null is a key like others`() throws {
        let pipeline = try SmallPipeline(Nodes.replaced.text)
        try pipeline.append(#"{"k":null,"v":1}"#, row("a", 1), #"{"v":2}"#)
        try pipeline.succeed()
        #expect(try table(pipeline) == ["a|1", "|2"])
        try pipeline.append(#"{"k":null,"v":3}"#)
        try pipeline.succeed()
        #expect(try table(pipeline) == ["a|1", "|3"])
    }

    @Test(arguments: [Nodes.added, .replaced])
    func `text with U+0000 goes to the dead letters and all other rows to the table`(_ nodes: Nodes) throws {
        let pipeline = try SmallPipeline(nodes.text)
        let lines = (0..<300).map { row($0 % 100 == 50 ? "k\($0)\\u0000" : "k\($0)", $0) }
        for line in lines { try pipeline.append(line) }
        let run = try pipeline.succeed()
        #expect(try pipeline.database.query("select count(*), count(distinct k) from t") == ["297|297"])
        #expect(run.counts("lines")["out"] == 300)
        #expect(run.counts("rows") == ["in": 300, "out": 300, "filtered": 0, "late": 0, "errors": 0])
        #expect(run.counts("out")["in"] == 300)
        #expect(run.counts("out")["errors"] == 3)
        #expect(run.counts("dead-letter")["in"] == 3)
        let letters = try pipeline.deadLetters()
        #expect(letters.map(\.node) == ["out", "out", "out"])
        #expect(letters.map(\.code) == ["zero_character", "zero_character", "zero_character"])
        #expect(letters.map(\.raw) == [lines[50], lines[150], lines[250]])
    }

    @Test func `rows that leave a top-n leave its table`() throws {
        let pipeline = try SmallPipeline(Nodes.best.text)
        try pipeline.append(row("a", 10), row("b", 20), row("c", 5))
        try pipeline.succeed()
        #expect(try table(pipeline) == ["a|10", "b|20"])
        // One comes in from below, one falls by its own sum, and the third moves up into the gap.
        try pipeline.append(row("d", 30))
        try pipeline.succeed()
        #expect(try table(pipeline) == ["b|20", "d|30"])
        try pipeline.append(row("d", -29))
        try pipeline.succeed()
        #expect(try table(pipeline) == ["a|10", "b|20"])
        try pipeline.append(row("b", -20), row("a", -10))
        try pipeline.succeed()
        #expect(try table(pipeline) == ["c|5", "d|1"])
    }

    @Test(arguments: Nodes.allCases)
    func `a finished run that is started again changes nothing`(_ nodes: Nodes) throws {
        let pipeline = try ranTwice(nodes)
        // xmin is the transaction that wrote a row: it tells a row that was written again from one that was not.
        let rows = "select xmin, ctid, * from t order by ctid"
        let marker = "select lineage, epoch from dataflow_commits"
        let before = try pipeline.database.query(rows) + pipeline.database.query(marker)
        let folders = try FileManager.default.contentsOfDirectory(atPath: pipeline.checkpoints + "/p").sorted()
        for _ in 0..<2 {
            let again = try pipeline.succeed()
            #expect(again.errors.contains("which is that of a finished run"))
        }
        #expect(try pipeline.database.query(rows) + pipeline.database.query(marker) == before)
        #expect(try FileManager.default.contentsOfDirectory(atPath: pipeline.checkpoints + "/p").sorted() == folders)
    }

    /// An existing table, its columns beside `k`, and a value that it refuses, for a good one.
    private static let refusals = [
        "a text that is too long": ("k varchar(3), v bigint", #"{"k":"long","v":5}"#, "too long"),
        "a number that is too great": ("k text, v smallint", #"{"k":"x","v":70000}"#, "v"),
        "a numeric out of range": ("k text, v numeric(3, 0)", #"{"k":"x","v":1000}"#, "numeric"),
        "a null": ("k text, v bigint not null", #"{"k":"x","v":null}"#, "null"),
        "a check": ("k text, v bigint constraint small check (v < 1000)", #"{"k":"x","v":1000}"#, "small"),
        "a duplicate": ("k text unique, v bigint", #"{"k":"k7","v":1}"#, "k7"),
        "a deferred foreign key": (
            "k text, v bigint references other deferrable initially deferred", #"{"k":"x","v":500}"#, "other"
        ),
    ]

    @Test(arguments: Self.refusals.keys.sorted())
    func `a row that the table refuses is found among a hundred`(_ what: String) throws {
        let (columns, bad, word) = try #require(Self.refusals[what])
        let pipeline = try SmallPipeline(Nodes.added.text)
        try pipeline.database.query(
            """
            create table other (v bigint primary key);
            insert into other select generate_series(0, 99);
            create table t (\(columns), note text default 'kept')
            """)
        for number in 0..<60 { try pipeline.append(row("k\(number)", number)) }
        try pipeline.append(bad)
        for number in 60..<99 { try pipeline.append(row("k\(number)", number)) }
        let run = try pipeline.succeed()
        #expect(
            try pipeline.database.query("select count(*), count(distinct k), sum(v), min(note) from t")
                == ["99|99|4851|kept"])
        #expect(run.counts("out")["in"] == 100)
        #expect(run.counts("out")["errors"] == 1)
        let letters = try pipeline.deadLetters()
        #expect(letters.map(\.raw) == [bad])
        #expect(letters.first?.reason.contains(word) == true, "\(letters)")
    }

    @Test func `with on_error fail a refused row ends the run and leaves the table as it was`() throws {
        let pipeline = try SmallPipeline(
            Nodes.added.with("on_error: fail"))
        try pipeline.append(row("a", 1))
        try pipeline.succeed()
        try pipeline.append(row("b", 2), #"{"k":"\u0000","v":3}"#)
        let run = try pipeline.run()
        #expect(run.exit == .code(65), "\(run.errors)")
        #expect(run.errors.contains("U+0000"), "\(run.errors)")
        #expect(try table(pipeline) == ["a|1"])
    }

    // MARK: Tables and servers that do not fit

    private static let misfits = [
        "k text": "v",
        "k integer, v bigint": "k",
        "k text, v boolean": "v",
        "k text, v bigint, more text not null": "more",
    ]

    @Test(arguments: Self.misfits.keys.sorted())
    func `an existing table that does not fit is refused with the column`(_ columns: String) throws {
        let column = try #require(Self.misfits[columns])
        let pipeline = try SmallPipeline(Nodes.added.text)
        try pipeline.database.query("create table t (\(columns))")
        try pipeline.append(row("a", 1))
        let run = try pipeline.run()
        #expect(run.exit == .code(78), "\(run.errors)")
        #expect(run.errors.contains("table t does not fit the stream"), "\(run.errors)")
        #expect(run.errors.contains("\n  - ") && run.errors.contains(column), "\(run.errors)")
        #expect(try pipeline.database.query("select count(*) from t") == ["0"])
    }

    @Test func `a key without a unique index is refused with what to create`() throws {
        let pipeline = try SmallPipeline(Nodes.replaced.text)
        try pipeline.database.query("create table t (k text, v bigint)")
        try pipeline.append(row("a", 1))
        let run = try pipeline.run()
        #expect(run.exit == .code(78), "\(run.errors)")
        #expect(run.errors.contains("unique"), "\(run.errors)")
    }

    @Test func `a wrong password ends the run and stays unseen`() throws {
        let pipeline = try SmallPipeline(Nodes.added.text)
        try pipeline.append(row("a", 1))
        let url = pipeline.database.url
        let secret = "Wr0ng-s3cret"
        let wrong = url.replacingOccurrences(of: "ingestpwd", with: secret)
        try #require(wrong != url, "the server's URL has no password to replace")
        let run = try pipeline.run(url: wrong)
        #expect(run.exit == .code(78), "\(run.errors)")
        #expect(run.errors.contains("password authentication failed"), "\(run.errors)")
        #expect(!run.errors.contains(secret))
    }

    @Test func `a missing database ends the run with its name`() throws {
        let pipeline = try SmallPipeline(Nodes.added.text)
        try pipeline.append(row("a", 1))
        let run = try pipeline.run(url: TestServer.shared().url(database: "nowhere"))
        #expect(run.exit == .code(78), "\(run.errors)")
        #expect(run.errors.contains("nowhere"), "\(run.errors)")
        #expect(!run.errors.contains("ingestpwd"))
    }

    @Test func `a server that is not there ends the run with exit code 69 and no secret`() throws {
        let pipeline = try SmallPipeline(
            Nodes.added.with("open_timeout: 300ms"))
        try pipeline.append(row("a", 1))
        // Port 9 is that of the discard service, which nobody runs.
        let run = try pipeline.run(url: "postgresql://ingest:S3cret-word@127.0.0.1:9/openfood")
        #expect(run.exit == .code(69), "\(run.errors)")
        #expect(run.errors.contains("127.0.0.1"), "\(run.errors)")
        #expect(!run.errors.contains("S3cret-word"))
    }
}
