import DataflowEndToEnd
import Foundation
import Glibc
import Testing

/// A sink that cannot keep up slows its source down, and memory stays where it was.
@Suite(.serialized) struct SlowSinkTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private struct Figures: CustomStringConvertible {
        var rows: Int
        var emitted: Int
        var seconds: Double
        var peakBytes: Int

        var perSecond: Double { Double(rows) / seconds }
        var description: String {
            "\(rows) rows in \(Int(seconds * 1000)) ms (\(Int(perSecond))/s), the source emitted \(emitted), peak \(peakBytes >> 20) MiB"
        }
    }

    private func write(_ sink: String, _ name: String) throws -> String {
        let file = "\(folder.path)/\(name).yaml"
        try """
        pipeline: \(name)
        parallelism: 1
        channel_size: 1MiB
        checkpoint: { interval: 500ms, timeout: 10m, directory: \(folder.path)/state }
        nodes:
          numbers:
            type: generate-source
            columns: { n: { sequence: {} }, words: { text: { length: 2000 } } }
          wide: { type: select, from: numbers, columns: { n: n, words: words, more: upper(words) } }
          out: { from: wide, \(sink) }
        """.write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }

    /// The numbers in the table that a run ends with: rows into `node`, and rows out of it.
    private func counts(_ node: String, _ errors: String) throws -> (in: Int, out: Int) {
        let rows = errors.split(separator: "\n").map { $0.split(separator: " ") }
        let row = try #require(rows.last { $0.first.map(String.init) == node && $0.count >= 6 }, "\(errors)")
        return (try #require(Int(row[1].filter(\.isNumber))), try #require(Int(row[2].filter(\.isNumber))))
    }

    /// `VmHWM`: the most memory that the process has had at once; nil when it has ended.
    private func peak(_ pid: pid_t) -> Int? {
        let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = status?.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return line.flatMap { Int($0.filter(\.isNumber)) }.map { $0 << 10 }
    }

    /// Runs until the source has been emitting for `seconds`, and stops it.
    private func measure(
        _ file: String, seconds: Int, pipedTo reader: String? = nil, environment: [String: String?] = [:]
    ) throws -> Figures {
        let start = ContinuousClock.now
        let program = Repository.program("dataflow")
        let process: ChildProcess
        if let reader {
            // The shell stays the parent; the program writes its own process number.
            process = try ChildProcess(
                "bash",
                [
                    "-c",
                    #"set -o pipefail; { echo $BASHPID > "$3/pid"; exec "$0" run "$1" --for "$2"; } | eval "$4""#,
                    program, file, "\(seconds)s", folder.path, reader,
                ], environment: environment)
        } else {
            process = try ChildProcess(program, ["run", file, "--for", "\(seconds)s"], environment: environment)
        }
        // The peak never falls, so the last reading before the end is the peak until then.
        var peakBytes = 0
        while process.wait(timeout: .milliseconds(50)) == nil {
            guard start.duration(to: .now) < .seconds(seconds + 120) else { break }
            let pid = reader == nil ? process.pid : pid_t(folder.text("pid").split(separator: "\n").first ?? "") ?? 0
            if pid > 0, let now = peak(pid) { peakBytes = max(peakBytes, now) }
        }
        try process.succeed(within: .seconds(1))
        let duration = start.duration(to: .now).components
        let source = try counts("numbers", process.errors)
        let sink = try counts("out", process.errors)
        #expect(sink.in == source.out, "after the last checkpoint every row that was emitted has arrived")
        return Figures(
            rows: sink.in, emitted: source.out,
            seconds: Double(duration.seconds) + Double(duration.attoseconds) / 1e18, peakBytes: peakBytes)
    }

    private let seconds = Repository.isSoak ? 30 : 4

    @Test func `a reader of the standard output that is slower by a factor of 100 costs no memory`() throws {
        let file = try write("type: stdout-sink", "printed")
        let fast = try measure(file, seconds: seconds, pipedTo: "cat > /dev/null")
        try FileManager.default.removeItem(atPath: folder.path + "/state")
        // At the stop it reads on, so that the last checkpoint can be taken.
        let slow = try measure(
            file, seconds: seconds,
            pipedTo: "for i in $(seq \(seconds * 10)); do head -c 4096; sleep 0.1; done > /dev/null; cat > /dev/null")
        print("stdout-sink, fast reader: \(fast)")
        print("stdout-sink, slow reader: \(slow)")
        // A row has a little more than 4,000 bytes as JSON.
        expectFlat(fast, slow, consumed: seconds * 10 * 4096 / 4000)
    }

    @Test func `a table that takes rows slower by a factor of 100 costs no memory`() throws {
        let database = try TestDatabase(TestServer.shared())
        try database.query(
            """
            create table fast (n bigint, words text, more text);
            create table slow (n bigint, words text, more text);
            """)
        let sink = #"type: pg-sink, connection: "${PG_URL}", max_batch: 256KiB, statement_timeout: 10m, table: "#
        let fast = try measure(
            write(sink + "fast", "fast"), seconds: seconds, environment: ["PG_URL": database.url])
        // It takes its time until the stop; then the last checkpoint can be taken.
        try database.query(
            """
            do $do$ begin execute format(
              'create function crawl() returns trigger language plpgsql as
                $$ begin if clock_timestamp() < %L then perform pg_sleep(0.01); end if; return new; end $$',
              clock_timestamp() + interval '\(seconds + 1) s'); end $do$;
            create trigger crawl before insert on slow for each row execute function crawl();
            """)
        let slow = try measure(
            write(sink + "slow", "slow"), seconds: seconds, environment: ["PG_URL": database.url])
        print("pg-sink, fast table: \(fast)")
        print("pg-sink, slow table: \(slow)")
        expectFlat(fast, slow, consumed: (seconds + 1) * 100)
        #expect(try database.query("select count(*), count(distinct n) from slow") == ["\(slow.rows)|\(slow.rows)"])
        #expect(try database.query("select count(*) from fast") == ["\(fast.rows)"])
    }

    /// - Parameter consumed: how many rows the slow sink can have taken at most until the stop.
    private func expectFlat(_ fast: Figures, _ slow: Figures, consumed: Int) {
        // A batch is 1 MiB, about 510 rows. On their way may be: one in the hands of the source, of `wide` and of the
        // sink, one or two in the channel, and what the sink and the pipe hold.
        #expect(slow.emitted <= consumed + 8 * 520, "the source ran ahead: \(slow)")
        // A factor of 100 on an idle machine; the formatting of a debug build on a busy one is slow, too.
        let factor = fast.perSecond * Double(seconds) / Double(consumed)
        print("slower by a factor of \(Int(factor)); memory \(fast.peakBytes >> 20) → \(slow.peakBytes >> 20) MiB")
        #expect(factor > 10, "the sink is not slow\n\(fast)\n\(slow)")
        #expect(slow.peakBytes < fast.peakBytes * 3 / 2, "\(fast)\n\(slow)")
        #expect(slow.peakBytes < 200 << 20, "\(slow)")
    }
}
